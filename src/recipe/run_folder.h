#pragma once
// The folder of a run: one sub-folder a stage, a record in each that says what it was made from, and
// result.json.

#include <filesystem>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace espalier {

// What stages write into their folders.
inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kSensitivityFile = "sensitivity.json";
inline constexpr const char* kOnnxFile = "model.onnx";
inline constexpr const char* kSelectionFile = "selection.json";
inline constexpr const char* kRefinedFile = "refined.json";  ///< of prune: curves with points measured again
inline constexpr const char* kLatencyFile = "latency_table.json";  ///< of the run, not of a stage
inline constexpr const char* kEvaluationFile = "evaluation.json";

/// What a stage was made from and what came of it; DIR/stage.json.
struct StageRecord {
  Json inputs =
      Json::object();  ///< options, hashes of the files it reads, seed, threads; compared key by key
  Json outputs = Json::object();  ///< file name in the stage's folder -> hash
  Json metrics = Json::object();
  double seconds = 0;
  bool finished = false;
};

/// Whether a stage must run, and why, for people.
struct StageState {
  enum class What { kFinished, kUnfinished, kStale, kNew, kSetAside };  ///< the last: finished, as NAME.old
  What what = What::kNew;
  std::string why;     ///< of kStale: "epochs is 8, was 4"
  bool empty = false;  ///< begun, and nothing was made
  StageRecord record;
};
/// "done", "runs again" and so on.
const char* word_of(StageState::What what);

/// How the stage's folder in the run `root` stands to `inputs`. Looks only.
StageState stage_state(const std::filesystem::path& root, const std::string& name, const Json& inputs);

class RunFolder {
 public:
  /// Makes the folder and locks it. Throws Error when it cannot be made or written, or when another run is at
  /// work in it.
  explicit RunFolder(std::filesystem::path root);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path stage(const std::string& name) const { return root_ / name; }

  StageState state(const std::string& name, const Json& inputs) const {
    return stage_state(root_, name, inputs);
  }
  /// Makes the stage's folder and notes its inputs, so that an interrupted stage is only continued when they
  /// are the same. What a stale one had made is kept as NAME.old; one that holds nothing is dropped.
  void begin(const std::string& name, const Json& inputs, const StageState& state) const;
  /// Of kSetAside: NAME.old becomes NAME, and what was there NAME.old.
  void take_back(const std::string& name) const;
  /// Hashes the outputs and writes the record: the stage is finished.
  void finish(const std::string& name, StageRecord record, const std::vector<std::string>& outputs) const;

 private:
  std::filesystem::path root_;
  int lock_ = -1;
};

/// "epochs is 8, was 4": the first difference of two records' inputs, empty if they agree.
std::string first_difference(const Json& now, const Json& before, const std::string& path = "");

/// A hash of a file's bytes as 16 hexadecimal digits. Throws Error when it cannot be read.
std::string file_hash(const std::filesystem::path& path);
std::string hex(uint64_t hash);

}  // namespace espalier
