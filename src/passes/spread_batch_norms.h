#pragma once

#include "graph/graph.h"

namespace espalier {

/// For training: takes batch norms apart (ops/normed_conv.h). The convolution before a norm
/// gathers its statistics; the convolution after it normalises and activates what it reads, if it is
/// pointwise or depthwise and the only reader; elsewhere a normalize op writes the result. Run it after
/// fuse_training(), which puts activations and additions into norms. Returns how many norms went.
int spread_batch_norms(Graph& graph);

}  // namespace espalier
