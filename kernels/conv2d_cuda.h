#pragma once
// Dense convolutions of the GPU on its tensor cores, with the formulas of conv2d.h and the rounding of
// precision(). Each returns false, having done nothing, for a problem it has no code for.

#include "kernels/normed_conv.h"

namespace espalier::kernels::cuda {

#ifdef ESPALIER_HAS_CUDA
bool conv2d_forward(const ConvShape& shape, const float* x, const float* w, const Epilogue& epilogue,
                    float* y);
bool conv2d_backward_x(const ConvShape& shape, const float* dy, const float* w, float* dx);
/// The filters as the data gradient reads them, [C,R,S,K]; valid until the next call on the stream.
const float* turned_filters(const ConvShape& shape, const float* w);
/// The sums are split in parts whose number depends on the shapes alone.
bool conv2d_backward_w(const ConvShape& shape, const float* x, const float* dy, float* dw);
/// y = conv of x through its norm, and the moments [2,K] of y.
bool conv2d_forward_with_moments(const ConvShape& shape, const float* x, const InputNorm& norm,
                                 const float* w, float* y, float* moments);
/// dw of x read through its norm.
bool conv2d_backward_w_of_norm(const ConvShape& shape, const float* x, const InputNorm& norm, const float* dy,
                               float* dw);
/// The data gradient through the norm of x; dx and sums as in NormedGradients.
bool conv2d_backward_x_through_norm(const ConvShape& shape, const float* x, const InputNorm& norm,
                                    const float* dy, const float* w, float* dx, float* sums);
#else
inline bool conv2d_forward(const ConvShape&, const float*, const float*, const Epilogue&, float*) {
  return false;
}
inline bool conv2d_backward_x(const ConvShape&, const float*, const float*, float*) { return false; }
inline bool conv2d_forward_with_moments(const ConvShape&, const float*, const InputNorm&, const float*,
                                        float*, float*) {
  return false;
}
inline bool conv2d_backward_w_of_norm(const ConvShape&, const float*, const InputNorm&, const float*,
                                      float*) {
  return false;
}
inline bool conv2d_backward_x_through_norm(const ConvShape&, const float*, const InputNorm&, const float*,
                                           const float*, float*, float*) {
  return false;
}
inline bool conv2d_backward_w(const ConvShape&, const float*, const float*, float*) { return false; }
#endif

}  // namespace espalier::kernels::cuda
