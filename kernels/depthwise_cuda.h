#pragma once
// Depthwise convolutions of the GPU, with the formulas of depthwise.h and, where a norm is given, of
// normed_conv.h, T float or Bf16. Each returns false, having done nothing, for a problem it has no code for.

#include "kernels/normed_conv.h"

namespace espalier::kernels::cuda {

#ifdef ESPALIER_HAS_CUDA
template <class T>
bool depthwise_forward(const ConvShape& shape, const T* x, const InputNorm& norm, const float* w,
                       const EpilogueOf<T>& epilogue, T* y);
/// The same without epilogue, and the moments [2,C] of y in the same pass.
template <class T>
bool depthwise_forward_with_moments(const ConvShape& shape, const T* x, const InputNorm& norm, const float* w,
                                    T* y, float* moments);
template <class T>
bool depthwise_backward_x(const ConvShape& shape, const T* dy, const float* w, T* dx);
/// Both gradients through the norm of x, which there must be, in one pass; sums and dw as in NormedGradients,
/// dw may be null.
template <class T>
bool depthwise_backward_through_norm(const ConvShape& shape, const T* x, const InputNorm& norm,
                                     const OutputGradient<T>& dy, const float* w, T* dx, float* sums,
                                     float* dw);
/// The sums are split in parts whose number depends on the shapes alone.
template <class T>
bool depthwise_backward_w(const ConvShape& shape, const T* x, const InputNorm& norm, const T* dy, float* dw);
#else
template <class T>
bool depthwise_forward(const ConvShape&, const T*, const InputNorm&, const float*, const EpilogueOf<T>&, T*) {
  return false;
}
template <class T>
bool depthwise_forward_with_moments(const ConvShape&, const T*, const InputNorm&, const float*, T*, float*) {
  return false;
}
template <class T>
bool depthwise_backward_through_norm(const ConvShape&, const T*, const InputNorm&, const OutputGradient<T>&,
                                     const float*, T*, float*, float*) {
  return false;
}
template <class T>
bool depthwise_backward_x(const ConvShape&, const T*, const float*, T*) {
  return false;
}
template <class T>
bool depthwise_backward_w(const ConvShape&, const T*, const InputNorm&, const T*, float*) {
  return false;
}
#endif

}  // namespace espalier::kernels::cuda
