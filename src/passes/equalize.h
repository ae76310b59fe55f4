#pragma once
// Cross-layer equalisation: channels of unlike size share one scale badly, and what one layer multiplies the
// next can divide.

#include "graph/graph.h"

namespace espalier {

struct EqualizeOptions {
  /// Caps do not scale with a channel: min(relu(x), 6) / s is not min(relu(x / s), 6), and INT8 has one cap a
  /// tensor. So layers with a ReLU6 are left alone, unless this turns those between two layers into ReLU
  /// first, as the paper does; that changes outputs where the cap was reached.
  bool drop_caps = false;
  int sweeps = 40;  ///< at most; it ends when nothing moves any more
};

/// Of the graph of prepare_for_quantization(): between two layers (Nagel et al., "Data-Free Quantization
/// Through Weight Equalization and Bias Correction", 2019, section 4.1) divides each channel's filter and
/// bias in the first and multiplies what reads it in the second by s = sqrt(r1 / r2), r the largest
/// magnitudes. The s are powers of two, so that outputs stay the same bit for bit (with drop_caps those of
/// the uncapped network). Between the two may stand an activation without cap, and pooling. A value that
/// anything else reads, a residual too, is left alone. Returns the number of pairs with a channel that moved.
int equalize(Graph& prepared, const EqualizeOptions& options = {});

}  // namespace espalier
