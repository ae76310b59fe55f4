#pragma once
// The model file: one safetensors file. Weights by path; graph, preprocessing, labels, scales, lineage and
// metrics as JSON strings in its metadata. Any safetensors reader opens it.

#include <filesystem>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "graph/graph.h"

namespace espalier {

/// Pixels a side of the pictures that a network can be made for.
constexpr int kLargestInput = 4096;

/// A model and everything that must travel with it.
struct Model {
  Graph graph;
  std::string task;  ///< "classification"
  std::vector<std::string> labels;
  Json architecture = Json::object();  ///< complete_spec() of models/model_table.h
  Json task_options;                   ///< of make_task(), see tasks/task.h; {} or null: all defaults
  Json preprocessing;                  ///< evaluation transforms, see datasets/transforms.h
  Json metrics;                        ///< what was measured, by stage
  Json lineage;                        ///< list of what was done: stage, parent's hash, seed, version
};

/// Writes atomically: a temporary file beside it, flushed, renamed. On any failure the old file is intact and
/// Error says why.
void save_model(const std::filesystem::path& path, const Model& model);
/// Strict: version, checksum, every tensor present with the right shape and type. Throws Error saying what is
/// wrong.
Model load_model(const std::filesystem::path& path);

}  // namespace espalier
