#pragma once

#include <cstdint>

#include "kernels/device.h"

namespace espalier::kernels {

enum class Sampling { kNearest, kHalfPixel, kAlignCorners };

/// x [N,H,W,C] to y [N,P,Q,C]. Nearest takes source floor(i * in / out); bilinear mixes two by two, with
/// half-pixel centres (source (i + 0.5) * in / out - 0.5, clamped) or with the corners' centres aligned
/// (source i * (in - 1) / (out - 1)).
struct ResizeShape {
  int N, H, W, C, P, Q;
  Sampling sampling;
};

void resize_forward(Device device, const ResizeShape& shape, const float* x, float* y);

/// dx[n,h,v,c] = sum of dy * weight over the outputs that read the pixel, gathered in row order.
void resize_backward(Device device, const ResizeShape& shape, const float* dy, float* dx);

}  // namespace espalier::kernels
