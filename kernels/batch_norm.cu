#include "kernels/batch_norm.h"

#include <type_traits>

#include "kernels/batch_norm_cpu.h"
#include "kernels/batch_norm_cuda.h"
#include "kernels/dispatch.h"
#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

/// One item is one channel. Two passes: the mean first, because E[x^2] - E[x]^2 cancels.
template <class T>
struct Statistics {
  int64_t rows;
  int channels;
  const T* x;
  float *mean, *variance;
  ESPALIER_HD void operator()(int64_t c) const {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < rows; ++i) sum += x[i * channels + c];
    const double center = sum / static_cast<double>(rows);
    for (int64_t i = 0; i < rows; ++i)
      squares += (x[i * channels + c] - center) * (x[i * channels + c] - center);
    mean[c] = static_cast<float>(center);
    variance[c] = static_cast<float>(squares / static_cast<double>(rows));
  }
};

ESPALIER_HD float normalised(const BatchNormProblem& b, int64_t at, int64_t c) {
  return (b.x[at] - b.mean[c]) * b.inverse_deviation[c];
}

/// What goes into the activation.
ESPALIER_HD float before_activation(const BatchNormProblem& b, int64_t at, int64_t c) {
  const float v = normalised(b, at, c) * b.scale[c] + b.shift[c];
  return b.residual ? v + b.residual[at] : v;
}

ESPALIER_HD float through_activation(const BatchNormProblem& b, int64_t at, int64_t c, float dy) {
  return b.act.gradient(before_activation(b, at, c), dy);
}

/// One item is one element.
struct Forward {
  BatchNormProblem b;
  float* y;
  ESPALIER_HD void operator()(int64_t at) const { y[at] = b.act(before_activation(b, at, at % b.channels)); }
};

/// One item is one channel.
struct BackwardParameters {
  BatchNormProblem b;
  const float* dy;
  float *dscale, *dshift;
  ESPALIER_HD void operator()(int64_t c) const {
    double scale = 0, shift = 0;
    for (int64_t i = 0; i < b.rows; ++i) {
      const int64_t at = i * b.channels + c;
      const double g = through_activation(b, at, c, dy[at]);
      shift += g;
      scale += g * normalised(b, at, c);
    }
    dscale[c] = static_cast<float>(scale);
    dshift[c] = static_cast<float>(shift);
  }
};

/// One item is one element.
struct BackwardX {
  BatchNormProblem b;
  const float *dy, *dscale, *dshift;
  bool batch_statistics;
  float *dx, *dresidual;
  ESPALIER_HD void operator()(int64_t at) const {
    const int64_t c = at % b.channels;
    const float g = through_activation(b, at, c, dy[at]);
    const float mean =
        batch_statistics ? (dshift[c] + normalised(b, at, c) * dscale[c]) / static_cast<float>(b.rows) : 0.0f;
    dx[at] = b.scale[c] * b.inverse_deviation[c] * (g - mean);
    if (dresidual) dresidual[at] = g;
  }
};

}  // namespace

template <class T>
void batch_norm_statistics(Device device, int64_t rows, int channels, const T* x, float* mean,
                           float* variance) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device)) return cpu::batch_norm_statistics(rows, channels, x, mean, variance);
  if (fast_on_cuda(device) && cuda::batch_norm_statistics(rows, channels, x, mean, variance)) return;
  for_each(device, channels, Statistics<T>{rows, channels, x, mean, variance}, rows);
}
template void batch_norm_statistics(Device, int64_t, int, const float*, float*, float*);
template void batch_norm_statistics(Device, int64_t, int, const Bf16*, float*, float*);

void batch_norm_forward(Device device, const BatchNormProblem& b, float* y) {
  if (fast_on_cpu(device)) return cpu::batch_norm_forward(b, y);
  if (fast_on_cuda(device) && cuda::batch_norm_forward(b, y)) return;
  for_each(device, b.rows * b.channels, Forward{b, y}, 4);
}

void batch_norm_backward_parameters(Device device, const BatchNormProblem& b, const float* dy, float* dscale,
                                    float* dshift) {
  if (fast_on_cpu(device)) return cpu::batch_norm_backward_parameters(b, dy, dscale, dshift);
  if (fast_on_cuda(device) && cuda::batch_norm_backward_parameters(b, dy, dscale, dshift)) return;
  for_each(device, b.channels, BackwardParameters{b, dy, dscale, dshift}, b.rows);
}

void batch_norm_backward_x(Device device, const BatchNormProblem& b, const float* dy, const float* dscale,
                           const float* dshift, bool batch_statistics, float* dx, float* dresidual) {
  if (fast_on_cpu(device))
    return cpu::batch_norm_backward_x(b, dy, dscale, dshift, batch_statistics, dx, dresidual);
  if (fast_on_cuda(device) &&
      cuda::batch_norm_backward_x(b, dy, dscale, dshift, batch_statistics, dx, dresidual))
    return;
  for_each(device, b.rows * b.channels, BackwardX{b, dy, dscale, dshift, batch_statistics, dx, dresidual}, 4);
}

}  // namespace espalier::kernels
