#pragma once

#include <cstdint>

#include "kernels/loss_factor.h"

namespace espalier::kernels {

/// The loss of one YOLOv3 head. All pointers are on the device.
struct YoloLossProblem {
  int N, H, W, M;
  int A;  ///< anchors of this head
  int classes;
  int anchors;          ///< of all heads
  const float* head;    ///< [N,H,W,A,5+classes]: tx, ty, tw, th, objectness, classes
  const float* boxes;   ///< [N,M,6]: centre x, centre y, width, height in 0..1, class, score
  const float* sizes;   ///< [anchors,2]: width and height as shares of the network's picture
  const int32_t* mask;  ///< [A]: which of all anchors are this head's
  float ignore_threshold;
  float positive, negative;  ///< class targets
};

/// matches[n,m] = the predictor (h * W + w) * A + a that answers for a box: the cell of its centre and the
/// anchor whose shape fits best; -1 where that anchor is another head's and for padding (width or height
/// below 1e-6).
void yolo_match(Device device, const YoloLossProblem& problem, int32_t* matches);

/// losses[n,h,w,a]: objectness, and what the boxes matched to the predictor cost in place and class.
void yolo_loss_forward(Device device, const YoloLossProblem& problem, const int32_t* matches, float* losses);

/// dx = factor * the derivative of the losses' sum.
void yolo_loss_backward(Device device, const YoloLossProblem& problem, const int32_t* matches,
                        const LossFactor& factor, float* dx);

}  // namespace espalier::kernels
