#pragma once

#include <vector>

#include "graph/graph.h"

namespace espalier {

/// Items [first, last] that a Session runs as one kernel if their ops allow it, so that their values live at
/// once.
struct Block {
  int first, last;
};

/// Per item: the block that it belongs to, or itself alone. A block is a dense convolution, a depthwise one
/// and a dense one in a row, each the only reader of the one before it.
std::vector<Block> blocks_of(const Graph& graph);

}  // namespace espalier
