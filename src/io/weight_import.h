#pragma once
// Weights that other frameworks trained, by their own names.

#include <filesystem>

#include "graph/graph.h"

namespace espalier {

struct ImportReport {
  int loaded = 0;                        ///< parameters that were filled
  std::vector<std::string> initialised;  ///< kept as they were: the head, when its class count differs
};

/// Fills a graph's parameters from a safetensors file in the naming of torchvision (mobilenet_v2) or from one
/// of this program's own model files. A classifier with another class count keeps its fresh values and is
/// reported; any other missing, surplus or ill-shaped tensor is an Error that names the tensors.
ImportReport import_weights(Graph& graph, const std::string& model_name, const std::filesystem::path& path);

}  // namespace espalier
