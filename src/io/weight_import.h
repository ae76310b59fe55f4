#pragma once
// Weights that other frameworks trained, by their own names.

#include <filesystem>

#include "graph/graph.h"

namespace espalier {

struct ImportReport {
  int loaded = 0;  ///< parameters that were filled
  /// Kept as they were: parameters of a head whose class count differs, parts that a backbone's file lacks.
  std::vector<std::string> initialised;
};

/// Fills a graph's parameters from a safetensors file in the naming of torchvision (mobilenet_v2) or timm
/// (mobilenet_v1), or from one of this program's own model files. yolov3_mobilenet_v1 takes a file of
/// mobilenet_v1 for its backbone. A head with another class count keeps its fresh values and is reported, as
/// is all of a detector but its backbone; any other missing, surplus or ill-shaped tensor is an Error that
/// names the tensors.
ImportReport import_weights(Graph& graph, const std::string& model_name, const std::filesystem::path& path);

}  // namespace espalier
