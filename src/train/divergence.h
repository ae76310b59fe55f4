#pragma once

#include <string>

#include "graph/graph.h"
#include "kernels/optimizer.h"

namespace espalier {

/// Runs the graph once more in training mode, item by item, and names the first whose output is not finite:
/// "block3/expand/conv (its output holds nan)". Empty when all are finite. Running statistics are updated as
/// in any training run.
std::string first_bad_activation(const Graph& graph, const Tensors& inputs);

/// After a backward pass: the item nearest to the loss that has a parameter whose gradient is not finite:
/// "block3/expand/conv (the gradient of block3/expand/w holds inf)". Empty when all are finite.
std::string first_bad_gradient(const Graph& graph);

/// The first item with a running statistic that is not finite. An activation's limits can hide from the loss
/// what a batch norm has overflowed to, but not from its statistics. Empty when all are finite.
std::string first_bad_statistic(const Graph& graph);

/// Looks over all running statistics in one pass, cheap enough for every step.
class StatisticsWatch {
 public:
  explicit StatisticsWatch(const Graph& graph);
  /// Their sum of squares, not finite as soon as one of them is not: where it lies on their device, null if
  /// there are none.
  const double* squares() { return kernels::square_sum(table_); }
  const Tensors& all() const { return statistics_; }

 private:
  Tensors statistics_;
  kernels::SliceTable table_;
};

/// Throws Error naming the first parameter that holds a value which is not finite.
void check_finite_parameters(const Graph& graph);

}  // namespace espalier
