#pragma once
// Dense convolutions by NVIDIA's libraries, as further candidates of the autotuner. Each returns false,
// having done nothing, for a problem that the library does not take; without the libraries all do. Only
// algorithms that repeat their bits are used.

#include "kernels/bf16.h"
#include "kernels/conv2d.h"
#include "kernels/precision.h"

namespace espalier::kernels::library {

#ifdef ESPALIER_HAS_CUDNN
/// Names the libraries and their versions, for the file of tuning results; empty without them.
const char* versions();

/// y = conv(x, w), nothing else. T is float, multiplied as `precision` says, or Bf16.
template <class T>
bool cudnn_forward(const ConvShape& shape, Precision precision, const T* x, const T* w, T* y);
template <class T>
bool cudnn_backward_x(const ConvShape& shape, Precision precision, const T* dy, const T* w, T* dx);
template <class T>
bool cudnn_backward_w(const ConvShape& shape, Precision precision, const T* x, const T* dy, T* dw);

/// The same by cuBLASLt for 1x1 convolutions without stride or padding.
template <class T>
bool cublaslt_forward(const ConvShape& shape, Precision precision, const T* x, const T* w, T* y);
template <class T>
bool cublaslt_backward_x(const ConvShape& shape, Precision precision, const T* dy, const T* w, T* dx);
template <class T>
bool cublaslt_backward_w(const ConvShape& shape, Precision precision, const T* x, const T* dy, float* dw);
#else
inline const char* versions() { return ""; }
template <class T>
bool cudnn_forward(const ConvShape&, Precision, const T*, const T*, T*) {
  return false;
}
template <class T>
bool cudnn_backward_x(const ConvShape&, Precision, const T*, const T*, T*) {
  return false;
}
template <class T>
bool cudnn_backward_w(const ConvShape&, Precision, const T*, const T*, T*) {
  return false;
}
template <class T>
bool cublaslt_forward(const ConvShape&, Precision, const T*, const T*, T*) {
  return false;
}
template <class T>
bool cublaslt_backward_x(const ConvShape&, Precision, const T*, const T*, T*) {
  return false;
}
template <class T>
bool cublaslt_backward_w(const ConvShape&, Precision, const T*, const T*, float*) {
  return false;
}
#endif

}  // namespace espalier::kernels::library
