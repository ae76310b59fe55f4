#pragma once

#include "graph/graph.h"

namespace espalier {

/// For inference: gives every group of tied channels (graph/channel_groups.h) as many more as a multiple of
/// `unit` lacks, behind its own, so that a pruned network of odd widths has tensors that kernels can load by
/// whole words. What makes the new channels and what reads them is zero: outputs stay the same to the bit,
/// but for a sum over channels in another order. Takes FP32 and INT8 graphs; padded parameters become new
/// tensors. Returns how many channels came.
int pad_channels(Graph& graph, int unit);

}  // namespace espalier
