#pragma once

#include "graph/graph.h"

namespace espalier {

/// What a training makes of its model's graph: fuse_training() and spread_batch_norms(), and on a GPU with
/// precision bf16 store_bf16().
void prepare_for_training(Graph& graph, Device device);

}  // namespace espalier
