#include "kernels/depthwise_cuda.h"

#include "kernels/cuda_launch.h"
#include "kernels/depthwise_passes.h"

namespace espalier::kernels::cuda {

namespace {

bool takes_norm(const InputNorm& norm) {
  return aligned(norm.factor) && aligned(norm.offset) && aligned(norm.mean) && strips::takes(norm.act);
}

}  // namespace

template <class T>
bool depthwise_forward(const ConvShape& s, const T* x, const InputNorm& norm, const float* w,
                       const EpilogueOf<T>& e, T* y) {
  if (!strips::takes(s) || !aligned(x) || !aligned(w) || !aligned(y) || !takes_norm(norm) ||
      !aligned(e.bias) || !aligned(e.residual))
    return false;
  Machine machine;
  return strips::forward(machine, s, x, norm, w, e, y);
}

template <class T>
bool depthwise_forward_with_moments(const ConvShape& s, const T* x, const InputNorm& norm, const float* w,
                                    T* y, float* moments) {
  if (!strips::takes(s) || !aligned(x) || !aligned(w) || !aligned(y) || !takes_norm(norm)) return false;
  Machine machine;
  return strips::forward_with_moments(machine, s, x, norm, w, y, moments);
}

template <class T>
bool depthwise_backward_through_norm(const ConvShape& s, const T* x, const InputNorm& norm,
                                     const OutputGradient<T>& dy, const float* w, T* dx, float* sums,
                                     float* dw) {
  if (!strips::takes(s) || !aligned(x) || !aligned(dy.g) || !aligned(dy.y) || !aligned(dy.constant) ||
      !aligned(dy.slope) || !aligned(dy.mean) || !aligned(w) || !aligned(dx) || !takes_norm(norm))
    return false;
  Machine machine;
  return strips::backward_through_norm(machine, s, x, norm, dy, w, dx, sums, dw);
}

template <class T>
bool depthwise_backward_x(const ConvShape& s, const T* dy, const float* w, T* dx) {
  if (!strips::takes(s) || !aligned(dy) || !aligned(w) || !aligned(dx)) return false;
  Machine machine;
  return strips::backward_x(machine, s, dy, w, dx);
}

template <class T>
bool depthwise_backward_w(const ConvShape& s, const T* x, const InputNorm& norm, const T* dy, float* dw) {
  if (!strips::takes(s) || !aligned(x) || !aligned(dy) || !aligned(dw) || !takes_norm(norm)) return false;
  Machine machine;
  return strips::backward_w(machine, s, x, norm, dy, dw);
}

#define ESPALIER_FOR(T)                                                                                      \
  template bool depthwise_forward(const ConvShape&, const T*, const InputNorm&, const float*,                \
                                  const EpilogueOf<T>&, T*);                                                 \
  template bool depthwise_forward_with_moments(const ConvShape&, const T*, const InputNorm&, const float*,   \
                                               T*, float*);                                                  \
  template bool depthwise_backward_through_norm(const ConvShape&, const T*, const InputNorm&,                \
                                                const OutputGradient<T>&, const float*, T*, float*, float*); \
  template bool depthwise_backward_x(const ConvShape&, const T*, const float*, T*);                          \
  template bool depthwise_backward_w(const ConvShape&, const T*, const InputNorm&, const T*, float*);
ESPALIER_FOR(float)
ESPALIER_FOR(Bf16)
#undef ESPALIER_FOR

}  // namespace espalier::kernels::cuda
