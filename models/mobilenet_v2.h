#pragma once

#include "nn/layers.h"

namespace espalier {

struct MobileNetV2Options {
  int classes = 1000;
  float width = 1.0f;
  bool expand_first = false;  ///< the reference's form: an expand convolution in the t = 1 block too
  float dropout = 0.0f;       ///< before the classifier
  PaddingStyle padding = PaddingStyle::kSymmetric;
};

/// MobileNetV2 (Sandler et al., 2018, table 2): x [N,H,W,3] to logits [N,classes].
Tensors mobilenet_v2(Scope s, Tensor x, const MobileNetV2Options& options);

}  // namespace espalier
