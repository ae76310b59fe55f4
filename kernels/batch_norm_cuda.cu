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

bool takes_norm(int64_t rows, int channels, const InputNorm& n, const void* x, const void* y) {
  return takes(rows, channels, n.factor, n.offset, n.mean, x, y);
}

}  // namespace

template <class T>
bool batch_norm_statistics(int64_t rows, int channels, const T* x, float* mean, float* variance) {
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

template <class T>
bool sum_rows(int64_t rows, int channels, const T* x, float* sum) {
  Machine machine;
  if (!takes(rows, channels, x)) {
    channels::sum_columns(machine, rows, channels, x, sum);
    return true;
  }
  channels::sum(machine, rows, channels, channels::Elements<T>{x}, sum, nullptr);
  return true;
}

template <class T>
bool normalize_forward(int64_t rows, int channels, const T* x, const InputNorm& norm, const T* residual,
                       T* y) {
  if (!takes_norm(rows, channels, norm, x, y) || !aligned(residual)) return false;
  Machine machine;
  channels::for_each_element(machine, rows, channels, channels::NormalizeForward<T>{x, norm, residual, y});
  return true;
}

template <class T>
bool normalize_sums(int64_t rows, int channels, const T* x, const InputNorm& norm, const T* y, const T* dy,
                    float* sums) {
  if (!takes_norm(rows, channels, norm, x, y) || !aligned(dy)) return false;
  Machine machine;
  channels::sum(machine, rows, channels, channels::NormSums<T>{{x, y, dy, norm}}, sums, sums + channels);
  return true;
}

template <class T>
bool normalize_backward_x(int64_t rows, int channels, const T* x, const InputNorm& norm, const T* y,
                          const T* dy, const MomentsTerm& moments, T* dx, T* dresidual) {
  if (!takes_norm(rows, channels, norm, x, y) || !aligned(dy) || !aligned(moments.constant) ||
      !aligned(moments.slope) || !aligned(dx) || !aligned(dresidual))
    return false;
  Machine machine;
  channels::for_each_element(machine, rows, channels,
                             channels::NormalizeBackward<T>{{x, y, dy, norm}, moments, dx, dresidual});
  return true;
}

template <class T>
bool complete_gradient(int64_t rows, int channels, const OutputGradient<T>& dy, T* whole) {
  if (!takes(rows, channels, dy.g, dy.y, dy.constant, dy.slope, dy.mean, whole)) return false;
  Machine machine;
  channels::for_each_element(machine, rows, channels, channels::WholeGradient<T>{dy, whole});
  return true;
}

#define ESPALIER_FOR(T)                                                                               \
  template bool batch_norm_statistics(int64_t, int, const T*, float*, float*);                        \
  template bool sum_rows(int64_t, int, const T*, float*);                                             \
  template bool normalize_forward(int64_t, int, const T*, const InputNorm&, const T*, T*);            \
  template bool normalize_sums(int64_t, int, const T*, const InputNorm&, const T*, const T*, float*); \
  template bool normalize_backward_x(int64_t, int, const T*, const InputNorm&, const T*, const T*,    \
                                     const MomentsTerm&, T*, T*);                                     \
  template bool complete_gradient(int64_t, int, const OutputGradient<T>&, T*);
ESPALIER_FOR(float)
ESPALIER_FOR(Bf16)
#undef ESPALIER_FOR

}  // namespace espalier::kernels::cuda
