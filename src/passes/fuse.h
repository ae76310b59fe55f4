#pragma once

#include "graph/graph.h"

namespace espalier {

/// For inference: lets convolutions and linear layers apply the activation that follows them, lets
/// convolutions add the residual that follows them (the later one where both operands are convolutions), and
/// removes ops that do nothing in inference (dropout). Run fold_batch_norm() first. No parameter changes.
/// Returns how many ops went.
int fuse(Graph& graph);

}  // namespace espalier
