#pragma once

#include <cstdint>

#include "kernels/bf16.h"
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

/// T is float or Bf16.
template <class T>
void resize_forward(Device device, const ResizeShape& shape, const T* x, T* y);

/// dx[n,h,v,c] = sum of dy * weight over the outputs that read the pixel, gathered in row order.
template <class T>
void resize_backward(Device device, const ResizeShape& shape, const T* dy, T* dx);

}  // namespace espalier::kernels
