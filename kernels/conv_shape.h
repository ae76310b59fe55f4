#pragma once
// The problem of one convolution, passed by value to host and device code alike.

#include <cstdint>

#include "kernels/host_device.h"

namespace espalier {

/// Padding in pixels, which may differ per side: TensorFlow's networks and ONNX need that.
struct Padding {
  int top = 0, left = 0, bottom = 0, right = 0;
  bool operator==(const Padding&) const = default;
};

namespace kernels {

/// x [N,H,W,C], dense w [K,R,S,C] or depthwise w [R,S,C] (then K == C), y [N,P,Q,K].
struct ConvShape {
  int N, H, W, C, K, R, S, stride;
  Padding pad;

  ESPALIER_HD int P() const { return (H + pad.top + pad.bottom - R) / stride + 1; }
  ESPALIER_HD int Q() const { return (W + pad.left + pad.right - S) / stride + 1; }
  bool operator==(const ConvShape&) const = default;
};

}  // namespace kernels
}  // namespace espalier
