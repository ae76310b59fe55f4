#pragma once

#include "graph/graph.h"

namespace espalier {

/// For training: takes batch norms apart (ops/normed_conv.h). The convolution before a norm
/// gathers its statistics; the convolution after it normalises and activates what it reads, if it is
/// pointwise or depthwise and the only reader; elsewhere a normalize op writes the result. Run it after
/// fuse_training(), which puts activations and additions into norms. Returns how many norms went.
///
/// On `device`, a GPU, a dense convolution would need a pass of its own to complete the gradient of its
/// output by that of the moments; so a normalize op behind one makes it whole.
int spread_batch_norms(Graph& graph, Device device = Device::kCpu);

}  // namespace espalier
