#pragma once

#include "graph/graph.h"

namespace espalier {

/// For training: a batch norm followed by an addition or an activation, with nothing else reading in between,
/// takes them into its own passes over memory. Parameters stay shared with the given graph's. Returns how
/// many ops went.
int fuse_training(Graph& graph);

}  // namespace espalier
