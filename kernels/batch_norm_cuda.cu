#include "kernels/batch_norm_cuda.h"

#include "kernels/channel_maps.h"
#include "kernels/cuda_launch.h"

namespace espalier::kernels::cuda {

namespace {

/// Whether the loops over groups of four channels fit.
template <class... Pointers>
bool takes(int64_t rows, int channels, Pointers... pointers) {
  constexpr int64_t kMost = int64_t{1} << 31;
  return channels::takes(rows, channels) && rows * (channels / 4) < kMost && (aligned(pointers) && ...);
}

bool takes(const BatchNormProblem& b, const float* dy, const float* out) {
  return takes(b.rows, b.channels, b.x, b.mean, b.inverse_deviation, b.scale, b.shift, b.residual, dy, out);
}

bool takes_norm(int64_t rows, int channels, const InputNorm& n, const float* x, const float* y) {
  return takes(rows, channels, n.factor, n.offset, n.mean, x, y);
}

}  // namespace

bool batch_norm_statistics(int64_t rows, int channels, const float* x, float* mean, float* variance) {
  if (!takes(rows, channels, x)) return false;
  Machine machine;
  channels::moments(machine, rows, channels, x, mean, variance);
  return true;
}

bool batch_norm_forward(const BatchNormProblem& b, float* y) {
  if (!takes(b, nullptr, y)) return false;
  Machine machine;
  channels::for_each_element(machine, b.rows, b.channels, channels::BatchNormForward{b, y});
  return true;
}

bool batch_norm_backward_parameters(const BatchNormProblem& b, const float* dy, float* dscale,
                                    float* dshift) {
  if (!takes(b, dy, nullptr)) return false;
  Machine machine;
  channels::sum(machine, b.rows, b.channels, channels::BatchNormGradients{b, dy}, dscale, dshift);
  return true;
}

bool batch_norm_backward_x(const BatchNormProblem& b, const float* dy, const float* dscale,
                           const float* dshift, bool batch_statistics, float* dx, float* dresidual) {
  if (!takes(b, dy, dx) || !aligned(dscale) || !aligned(dshift) || !aligned(dresidual)) return false;
  Machine machine;
  channels::for_each_element(
      machine, b.rows, b.channels,
      channels::BatchNormBackwardX{b, dy, dscale, dshift, batch_statistics, dx, dresidual});
  return true;
}

bool sum_rows(int64_t rows, int channels, const float* x, float* sum) {
  if (!takes(rows, channels, x)) return false;
  Machine machine;
  channels::sum(machine, rows, channels, channels::Elements{x}, sum, nullptr);
  return true;
}

bool normalize_forward(int64_t rows, int channels, const float* x, const InputNorm& norm,
                       const float* residual, float* y) {
  if (!takes_norm(rows, channels, norm, x, y) || !aligned(residual)) return false;
  Machine machine;
  channels::for_each_element(machine, rows, channels, channels::NormalizeForward{x, norm, residual, y});
  return true;
}

bool normalize_backward(int64_t rows, int channels, const float* x, const InputNorm& norm, const float* y,
                        const float* dy, float* dx, float* sums, float* dresidual) {
  if (!takes_norm(rows, channels, norm, x, y) || !aligned(dy) || !aligned(dx) || !aligned(dresidual))
    return false;
  Machine machine;
  const channels::NormGradient gradient{x, y, dy, norm};
  channels::sum(machine, rows, channels, channels::NormSums{gradient}, sums, sums + channels);
  channels::for_each_element(machine, rows, channels, channels::NormalizeBackward{gradient, dx, dresidual});
  return true;
}

bool complete_gradient(int64_t rows, int channels, const OutputGradient& dy, float* whole) {
  if (!takes(rows, channels, dy.g, dy.y, dy.constant, dy.slope, dy.mean, whole)) return false;
  Machine machine;
  channels::for_each_element(machine, rows, channels, channels::WholeGradient{dy, whole});
  return true;
}

}  // namespace espalier::kernels::cuda
