#pragma once
// Dense convolutions of the GPU on its tensor cores, with the formulas of conv2d.h. T is float, multiplied
// with the rounding of precision(), or Bf16. Each returns false, having done nothing, for a problem it has no
// code for.

#include "kernels/normed_conv.h"

namespace espalier::kernels::cuda {

#ifdef ESPALIER_HAS_CUDA
template <class T>
bool conv2d_forward(const ConvShape& shape, const T* x, const float* w, const EpilogueOf<T>& epilogue, T* y);
/// The same with filters of the type of the images.
template <class T>
bool conv2d_forward_of_stored(const ConvShape& shape, const T* x, const T* filters,
                              const EpilogueOf<T>& epilogue, T* y);
template <class T>
bool conv2d_backward_x(const ConvShape& shape, const T* dy, const float* w, T* dx);
/// The filters as the forward pass reads them: w itself, or rounded. Valid until the next call on the stream.
template <class T>
const T* stored_filters(const ConvShape& shape, const float* w);
/// The filters as the data gradient reads them, [C,R,S,K]; valid until the next call on the stream.
template <class T>
const T* turned_filters(const ConvShape& shape, const float* w);
/// The sums are split in parts whose number depends on the shapes alone.
template <class T>
bool conv2d_backward_w(const ConvShape& shape, const T* x, const T* dy, float* dw);
/// y = conv of x through its norm, and the moments [2,K] of y.
template <class T>
bool conv2d_forward_with_moments(const ConvShape& shape, const T* x, const InputNorm& norm, const float* w,
                                 T* y, float* moments);
/// dw of x read through its norm.
template <class T>
bool conv2d_backward_w_of_norm(const ConvShape& shape, const T* x, const InputNorm& norm, const T* dy,
                               float* dw);
/// The data gradient through the norm of x; dx and sums as in NormedGradients.
template <class T>
bool conv2d_backward_x_through_norm(const ConvShape& shape, const T* x, const InputNorm& norm, const T* dy,
                                    const float* w, T* dx, float* sums);
#else
template <class T>
bool conv2d_forward(const ConvShape&, const T*, const float*, const EpilogueOf<T>&, T*) {
  return false;
}
template <class T>
bool conv2d_forward_of_stored(const ConvShape&, const T*, const T*, const EpilogueOf<T>&, T*) {
  return false;
}
template <class T>
bool conv2d_backward_x(const ConvShape&, const T*, const float*, T*) {
  return false;
}
template <class T>
bool conv2d_forward_with_moments(const ConvShape&, const T*, const InputNorm&, const float*, T*, float*) {
  return false;
}
template <class T>
bool conv2d_backward_w_of_norm(const ConvShape&, const T*, const InputNorm&, const T*, float*) {
  return false;
}
template <class T>
bool conv2d_backward_x_through_norm(const ConvShape&, const T*, const InputNorm&, const T*, const float*, T*,
                                    float*) {
  return false;
}
template <class T>
bool conv2d_backward_w(const ConvShape&, const T*, const T*, float*) {
  return false;
}
#endif

}  // namespace espalier::kernels::cuda
