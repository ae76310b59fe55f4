#pragma once

#include "graph/graph.h"

namespace espalier {

/// What a graph weighs, at its traced input size and batch 1.
struct Cost {
  int64_t parameters =
      0;  ///< trainable elements; of an INT8 graph the elements of all parameters that stand for them
  int64_t macs = 0;   ///< multiply-accumulates of convolutions and linear layers
  int64_t bytes = 0;  ///< of all parameters as stored, running statistics included
};

Cost cost(const Graph& graph);
int64_t item_macs(const Graph& graph, const Graph::Item& item);

}  // namespace espalier
