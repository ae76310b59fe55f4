#pragma once
// How the stages of a recipe hang together: what each is made from, and which of them are rows of the table.

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "recipe/stages.h"

namespace espalier {

/// Whether a stage of this kind writes a model file.
bool makes_model(const StageSpec& stage);

/// A row of the table: every model but those that are only cut and then retrained.
bool is_variant(const Recipe& recipe, const StageSpec& stage);
std::vector<const StageSpec*> variants_of(const Recipe& recipe);

/// The nearest ancestor that is a row of the table; empty for the first.
std::string source_of(const Recipe& recipe, const StageSpec& stage);

/// What a train stage learns from; empty for most.
std::string teacher_name(const StageSpec& stage);

/// The recipe's timing, with the defaults where it says nothing of one; and the rows that it times.
StageSpec bench_stage_of(const Recipe& recipe);
std::vector<const StageSpec*> benched(const Recipe& recipe, const StageSpec& bench);

/// "cut: prune from baseline, keep 0.5 of the MACs".
std::string headline(const Recipe& recipe, const StageSpec& stage);

/// The files and values that stages are made from, in one run's folder.
class StageInputs {
 public:
  StageInputs(Workbench& bench, const std::filesystem::path& out);

  /// For a plan: the stage's folder is NAME.old until it is taken back.
  void set_aside(const std::string& stage) { aside_.insert(stage); }

  /// A model file, of a stage or as it is named; empty for "scratch".
  std::filesystem::path model_of(const std::string& from) const;
  /// Empty for a stage without one.
  std::filesystem::path teacher_of(const StageSpec& stage) const;
  /// What a prune stage's shares are of; empty where it is the model that is cut.
  std::filesystem::path whole_of(const StageSpec& stage) const;
  /// Empty but for prune stages.
  std::filesystem::path sensitivity_of(const StageSpec& stage) const;

  /// All that decides what a stage makes: options, seed, hashes of files and data. A stage whose record says
  /// the same is done. A file that is not there yet counts as nothing.
  Json of(const StageSpec& stage) const;
  Json of_bench(const StageSpec& stage, const std::vector<const StageSpec*>& variants) const;

 private:
  std::filesystem::path folder_of(const std::string& stage) const;

  Workbench& bench_;
  const Recipe& recipe_;
  std::filesystem::path out_;
  std::set<std::string> aside_;
};

}  // namespace espalier
