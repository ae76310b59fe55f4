#pragma once

#include "models/mobilenet_v1.h"

namespace espalier {

struct YoloV3Options {
  int classes = 80;
  int anchors = 3;         ///< of each head
  bool early_tap = false;  ///< the reference's: the 1/16 map from before the backbone's five equal blocks
  float width = 1.0f;      ///< channel multiplier of backbone and heads
  MobileNetV1Options backbone{.act = Activation::relu()};
};

/// YOLOv3 (Redmon and Farhadi, 2018) on MobileNetV1: x [N,H,W,3] to three heads
/// [N,H/s,W/s,anchors*(5+classes)], s = 32, 16, 8; channels as yolo_loss() in ops.h has them. Sides must be
/// multiples of 32.
Tensors yolov3_mobilenet_v1(Scope s, const Tensor& x, const YoloV3Options& options);

}  // namespace espalier
