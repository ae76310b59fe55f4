#pragma once

#include <string>

#include "graph/graph.h"

namespace espalier {

/// Runs the graph once more in training mode, item by item, and names the first whose output is not finite:
/// "block3/expand/conv (its output holds nan)". Empty when all are finite. Running statistics are updated as
/// in any training run.
std::string first_bad_activation(const Graph& graph, const Tensors& inputs);

/// After a backward pass: the item nearest to the loss that has a parameter whose gradient is not finite:
/// "block3/expand/conv (gradient of block3/expand/w holds inf)". Empty when all are finite.
std::string first_bad_gradient(const Graph& graph);

/// Throws Error naming the first parameter that holds a value which is not finite.
void check_finite_parameters(const Graph& graph);

}  // namespace espalier
