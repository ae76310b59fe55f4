#pragma once
// Dense convolutions by NVIDIA's libraries, as further candidates of the autotuner. Each returns false,
// having done nothing, for a problem that the library does not take; without the libraries all do. Only
// algorithms that repeat their bits are used.

#include "kernels/conv2d.h"
#include "kernels/precision.h"

namespace espalier::kernels::library {

#ifdef ESPALIER_HAS_CUDNN
/// Names the libraries and their versions, for the file of tuning results; empty without them.
const char* versions();

/// y = conv(x, w), nothing else.
bool cudnn_forward(const ConvShape& shape, Precision precision, const float* x, const float* w, float* y);
bool cudnn_backward_x(const ConvShape& shape, Precision precision, const float* dy, const float* w,
                      float* dx);
bool cudnn_backward_w(const ConvShape& shape, Precision precision, const float* x, const float* dy,
                      float* dw);

/// The same by cuBLASLt for 1x1 convolutions without stride or padding.
bool cublaslt_forward(const ConvShape& shape, Precision precision, const float* x, const float* w, float* y);
bool cublaslt_backward_x(const ConvShape& shape, Precision precision, const float* dy, const float* w,
                         float* dx);
bool cublaslt_backward_w(const ConvShape& shape, Precision precision, const float* x, const float* dy,
                         float* dw);
#else
inline const char* versions() { return ""; }
inline bool cudnn_forward(const ConvShape&, Precision, const float*, const float*, float*) { return false; }
inline bool cudnn_backward_x(const ConvShape&, Precision, const float*, const float*, float*) {
  return false;
}
inline bool cudnn_backward_w(const ConvShape&, Precision, const float*, const float*, float*) {
  return false;
}
inline bool cublaslt_forward(const ConvShape&, Precision, const float*, const float*, float*) {
  return false;
}
inline bool cublaslt_backward_x(const ConvShape&, Precision, const float*, const float*, float*) {
  return false;
}
inline bool cublaslt_backward_w(const ConvShape&, Precision, const float*, const float*, float*) {
  return false;
}
#endif

}  // namespace espalier::kernels::library
