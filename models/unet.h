#pragma once

#include "nn/layers.h"

namespace espalier {

struct UNetOptions {
  int channels = 2;      ///< of the output: the classes, or 1 for losses on a single logit
  float width = 1.0f;    ///< channel multiplier
  bool nearest = false;  ///< upsample by nearest neighbour instead of bilinear with aligned corners
  float norm_momentum = 0.01f;
};

/// UNet (Ronneberger et al., 2015) with padded convolutions and batch norm: x [N,H,W,3] to logits
/// [N,H,W,channels]. Any extents of at least 16.
Tensors unet(Scope s, Tensor x, const UNetOptions& options);

}  // namespace espalier
