#include "kernels/batch_norm.h"

#include <type_traits>

#include "kernels/batch_norm_cpu.h"
#include "kernels/batch_norm_cuda.h"
#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/row_parts.h"

namespace espalier::kernels {

namespace {

/// parts[part, c] = mean and squared distances from it. One item is one channel of one part of the rows. Two
/// passes: the mean first, because E[x^2] - E[x]^2 cancels.
template <class T>
struct PartStatistics {
  RowCut rows;
  int channels;
  const T* x;
  double* parts;
  ESPALIER_HD void operator()(int64_t item) const {
    const int64_t part = item / channels, c = item % channels;
    const int64_t first = rows.first(part), last = rows.last(part);
    double sum = 0, squares = 0;
    for (int64_t i = first; i < last; ++i) sum += x[i * channels + c];
    const double center = sum / static_cast<double>(last - first);
    for (int64_t i = first; i < last; ++i)
      squares += (x[i * channels + c] - center) * (x[i * channels + c] - center);
    parts[2 * item] = center;
    parts[2 * item + 1] = squares;
  }
};

/// Merges the parts in order (Chan, Golub and LeVeque 1979). One item is one channel.
struct MergeStatistics {
  RowCut rows;
  int64_t count;  ///< of parts
  int channels;
  const double* parts;
  float *mean, *variance;
  ESPALIER_HD void operator()(int64_t c) const {
    double n = 0, center = 0, squares = 0;
    for (int64_t part = 0; part < count; ++part) {
      const double* p = parts + 2 * (part * channels + c);
      const double more = static_cast<double>(rows.last(part) - rows.first(part)), all = n + more;
      const double apart = p[0] - center;
      center += apart * more / all;
      squares += p[1] + apart * apart * n * more / all;
      n = all;
    }
    mean[c] = static_cast<float>(center);
    variance[c] = static_cast<float>(squares / n);
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
  const RowCut cut(rows, 256, 256);
  double* parts = reinterpret_cast<double*>(parts_memory(device, 4 * cut.parts() * channels));
  for_each(device, cut.parts() * channels, PartStatistics<T>{cut, channels, x, parts}, 2 * cut.length);
  for_each(device, channels, MergeStatistics{cut, cut.parts(), channels, parts, mean, variance}, cut.parts());
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
