#pragma once

#include <functional>

#include "graph/graph.h"

namespace espalier {

/// Runs a graph of one input eagerly and shows the input and every activation, by index of its value, as soon
/// as it is made, on the graph's device; only what is still to be read stays in memory. Errors name the
/// place.
void watch(const Graph& graph, const Tensor& images, const std::function<void(int, const Tensor&)>& see);

}  // namespace espalier
