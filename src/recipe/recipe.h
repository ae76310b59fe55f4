#pragma once
// A recipe: what to train on which data, and which stages follow. YAML in, typed structs out.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "datasets/dataset.h"
#include "datasets/synthetic.h"
#include "models/model_table.h"
#include "recipe/schema.h"
#include "tensor/device_choice.h"

namespace espalier {

/// The `data:` section.
struct DataSection {
  DataSpec spec;
  int size = 224, batch = 32;
  Json train_transforms, eval_transforms;  ///< complete
  int64_t cache_bytes = 0;
  std::optional<SyntheticOptions> make;  ///< what to draw into the root when it does not exist
};

/// One entry of `stages:`.
struct StageSpec {
  std::string kind;  ///< "train", "prune", ...
  std::string name;  ///< unique; the folder in the run and the row of the table
  std::string from;  ///< the stage whose model it reads, "scratch", or a model file
  Json options;      ///< complete: every key of the kind's section, checked
  std::string path;  ///< in the document, for messages
};

/// One entry of `expect:`.
struct Bound {
  std::string variant, quantity;
  std::optional<double> min, max;
  std::string place;  ///< "recipes/x.yaml:40"
};

struct Recipe {
  std::string name;  ///< the file's, without folder and ending
  Document document;
  ModelSpec model;  ///< classes is 0 when the data decide
  std::filesystem::path weights;
  DataSection data;
  Json task_options;  ///< what the `task:` section gives: keys of the model's task, see tasks/task.h
  uint64_t seed = 1;
  int threads = 0;  ///< 0: all cores, or OMP_NUM_THREADS
  DeviceChoice device;
  std::string precision;  ///< "tf32", "fp32", "bf16"
  std::vector<StageSpec> stages;
  std::vector<Bound> expect;
  Json complete;  ///< as checked, every default filled in

  const StageSpec* find(const std::string& stage) const;  ///< nullptr if there is none
};

/// An override from the command line: "data.batch=16". Keys are as in the file; a stage is reached by its
/// name: "control.epochs=2".
using Overrides = std::vector<std::string>;

/// Reads and checks a recipe. Throws Error "FILE:LINE: ..." at the first thing wrong.
Recipe load_recipe(const std::filesystem::path& file, const Overrides& overrides = {});
Recipe make_recipe(Document document, const std::string& name, const Overrides& overrides = {});

/// Every key a recipe may have; `stages` are described by stage_keys().
std::vector<Key> recipe_keys();

/// What one kind of stage is called, does and may be told.
struct StageKind {
  std::string name, help;
  bool reads_model, writes_model;
  std::vector<Key> keys;
};
const std::vector<StageKind>& stage_kinds();
const StageKind* find_stage_kind(const std::string& name);

}  // namespace espalier
