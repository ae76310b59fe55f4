#pragma once
// Depthwise convolutions of the GPU, with the formulas of depthwise.h and, where a norm is given, of
// normed_conv.h. Each returns false, having done nothing, for a problem it has no code for.

#include "kernels/normed_conv.h"

namespace espalier::kernels::cuda {

#ifdef ESPALIER_HAS_CUDA
/// Whether the functions below take the shape, given memory on 16-byte boundaries.
bool takes_depthwise(const ConvShape& shape);
bool depthwise_forward(const ConvShape& shape, const float* x, const InputNorm& norm, const float* w,
                       const Epilogue& epilogue, float* y);
/// The same without epilogue, and the moments [2,C] of y in the same pass.
bool depthwise_forward_with_moments(const ConvShape& shape, const float* x, const InputNorm& norm,
                                    const float* w, float* y, float* moments);
bool depthwise_backward_x(const ConvShape& shape, const float* dy, const float* w, float* dx);
/// The same through the norm of x in the same pass; sums as in NormedGradients.
bool depthwise_backward_x_through_norm(const ConvShape& shape, const float* x, const InputNorm& norm,
                                       const float* dy, const float* w, float* dx, float* sums);
/// The sums are split in parts whose number depends on the shapes alone.
bool depthwise_backward_w(const ConvShape& shape, const float* x, const InputNorm& norm, const float* dy,
                          float* dw);
#else
inline bool takes_depthwise(const ConvShape&) { return false; }
inline bool depthwise_forward(const ConvShape&, const float*, const InputNorm&, const float*, const Epilogue&,
                              float*) {
  return false;
}
inline bool depthwise_forward_with_moments(const ConvShape&, const float*, const InputNorm&, const float*,
                                           float*, float*) {
  return false;
}
inline bool depthwise_backward_x_through_norm(const ConvShape&, const float*, const InputNorm&, const float*,
                                              const float*, float*, float*) {
  return false;
}
inline bool depthwise_backward_x(const ConvShape&, const float*, const float*, float*) { return false; }
inline bool depthwise_backward_w(const ConvShape&, const float*, const InputNorm&, const float*, float*) {
  return false;
}
#endif

}  // namespace espalier::kernels::cuda
