#include "kernels/activation.h"

#include <cmath>

#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

struct ActivationForward {
  Activation act;
  const float* x;
  float* y;
  ESPALIER_HD void operator()(int64_t i) const { y[i] = act(x[i]); }
};

template <class T>
struct ActivationBackward {
  Activation act;
  const T *x, *dy;
  T* dx;
  ESPALIER_HD void operator()(int64_t i) const { dx[i] = act.gradient(x[i], dy[i]); }
};

struct SigmoidForward {
  const float* x;
  float* y;
  ESPALIER_HD void operator()(int64_t i) const { y[i] = 1.0f / (1.0f + std::exp(-x[i])); }
};

struct SigmoidBackward {
  const float *y, *dy;
  float* dx;
  ESPALIER_HD void operator()(int64_t i) const { dx[i] = dy[i] * y[i] * (1.0f - y[i]); }
};

}  // namespace

void activation_forward(Device device, int64_t n, Activation act, const float* x, float* y) {
  for_each(device, n, ActivationForward{act, x, y});
}
template <class T>
void activation_backward(Device device, int64_t n, Activation act, const T* x, const T* dy, T* dx) {
  for_each(device, n, ActivationBackward<T>{act, x, dy, dx});
}
template void activation_backward(Device, int64_t, Activation, const float*, const float*, float*);
template void activation_backward(Device, int64_t, Activation, const Bf16*, const Bf16*, Bf16*);
void sigmoid_forward(Device device, int64_t n, const float* x, float* y) {
  for_each(device, n, SigmoidForward{x, y}, 16);
}
void sigmoid_backward(Device device, int64_t n, const float* y, const float* dy, float* dx) {
  for_each(device, n, SigmoidBackward{y, dy, dx});
}

}  // namespace espalier::kernels
