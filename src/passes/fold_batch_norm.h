#pragma once

#include "graph/graph.h"

namespace espalier {

/// Multiplies every batch norm that directly follows a convolution (dense or depthwise, used by nothing else,
/// with no activation of its own) into that convolution's filters and a bias, with the running statistics;
/// the norm's activation and residual move along. For inference: after training, before fuse() and
/// quantisation. Parameters that change become new tensors, so graphs that share the old ones keep theirs.
/// Returns how many were folded; other norms stay.
int fold_batch_norm(Graph& graph);

}  // namespace espalier
