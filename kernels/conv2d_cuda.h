#pragma once
// Dense convolutions of the GPU on its tensor cores, with the formulas of conv2d.h and the rounding of
// precision(). Each returns false, having done nothing, for a problem it has no code for.

#include "kernels/conv2d.h"

namespace espalier::kernels::cuda {

#ifdef ESPALIER_HAS_CUDA
bool conv2d_forward(const ConvShape& shape, const float* x, const float* w, const Epilogue& epilogue,
                    float* y);
bool conv2d_backward_x(const ConvShape& shape, const float* dy, const float* w, float* dx);
/// The sums are split in parts whose number depends on the shapes alone.
bool conv2d_backward_w(const ConvShape& shape, const float* x, const float* dy, float* dw);
#else
inline bool conv2d_forward(const ConvShape&, const float*, const float*, const Epilogue&, float*) {
  return false;
}
inline bool conv2d_backward_x(const ConvShape&, const float*, const float*, float*) { return false; }
inline bool conv2d_backward_w(const ConvShape&, const float*, const float*, float*) { return false; }
#endif

}  // namespace espalier::kernels::cuda
