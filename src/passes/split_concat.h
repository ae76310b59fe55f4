#pragma once

#include "graph/graph.h"

namespace espalier {

/// For inference: a convolution of a concat becomes one convolution per part, each adding the sum of those
/// before it, so that the joined tensor is never made. Done where the convolution is the concat's only
/// reader, has no residual of its own and makes fewer channels than it reads, so that the sums are less
/// traffic than the copy. Run fuse() first. Sums are taken in another order, see kPassRelativeToMax of the
/// tests. Returns how many concats went.
int split_concat(Graph& graph);

}  // namespace espalier
