#pragma once

#include "nn/layers.h"

namespace espalier {

struct MobileNetV1Options {
  float width = 1.0f;  ///< channel multiplier
  Activation act = Activation::relu6();
  PaddingStyle padding = PaddingStyle::kSymmetric;
};

/// What MobileNetV1 makes on the way: x [N,H,W,3] to maps of 1/8, 1/16 and 1/32 of its extent, and the 1/16
/// map before the five equal blocks.
struct MobileNetV1Features {
  Tensor eighth;           ///< 256 channels
  Tensor early_sixteenth;  ///< 512 channels, after the first block of that extent
  Tensor sixteenth;        ///< 512 channels, after the last
  Tensor thirty_second;    ///< 1024 channels
};

MobileNetV1Features mobilenet_v1_features(Scope s, Tensor x, const MobileNetV1Options& options);

/// MobileNetV1 (Howard et al., 2017, table 1): x [N,H,W,3] to logits [N,classes].
Tensors mobilenet_v1(Scope s, const Tensor& x, int classes, const MobileNetV1Options& options);

}  // namespace espalier
