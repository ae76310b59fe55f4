#pragma once
// Every model by name. A model is a function in a file of its own and a line in model_table.cpp.

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "nn/scope.h"

namespace espalier {

/// What a recipe's `model:` section says. Options that a model does not know are errors.
struct ModelSpec {
  std::string name = "mobilenet_v2";
  int classes = 0;
  Json options;  ///< per model: "width", "form", "padding", ...
};

/// Groups of channels by the layers that make them, as compress/group_filter.h reads them.
struct GroupPatterns {
  std::vector<std::string> include, exclude;
};

struct ModelEntry {
  std::string name;
  std::string task;  ///< "classification", "detection", "segmentation"
  std::string description;
  /// name -> {"default": value, "values"/"description": text}; what `options` may hold.
  Json options;
  std::function<ModelFunction(const ModelSpec&)> make;
  GroupPatterns reference_groups;  ///< what the reference can prune; everything that can go by default
};

const std::vector<ModelEntry>& model_table();
/// Throws Error naming the known ones.
const ModelEntry& find_model(const std::string& name);
/// Checks the options against the entry, fills defaults, traces at `size` x `size`.
Graph build_model(const ModelSpec& spec, int size, uint64_t seed);
/// The spec with every default filled in, as stored in model files.
Json complete_spec(const ModelSpec& spec);

}  // namespace espalier
