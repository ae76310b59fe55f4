#pragma once

#include <string>

#include "graph/graph.h"

namespace espalier::test {

/// The golden files' name of one of a model's parameters.
std::string golden_name(const Graph& graph, const std::string& model, const std::string& parameter);

}  // namespace espalier::test
