#pragma once
// Batch norms and other work per channel on the GPU, with the formulas of batch_norm.h, normed_conv.h and
// conv2d.h. Each returns false, having done nothing, for a problem it has no code for. Sums are split in
// parts whose number depends on the shapes alone. T is float or Bf16.

#include "kernels/batch_norm.h"
#include "kernels/normed_conv.h"

namespace espalier::kernels::cuda {

#ifdef ESPALIER_HAS_CUDA
template <class T>
bool batch_norm_statistics(int64_t rows, int channels, const T* x, float* mean, float* variance);
bool batch_norm_forward(const BatchNormProblem& problem, float* y);
bool batch_norm_backward_parameters(const BatchNormProblem& problem, const float* dy, float* dscale,
                                    float* dshift);
bool batch_norm_backward_x(const BatchNormProblem& problem, const float* dy, const float* dscale,
                           const float* dshift, bool batch_statistics, float* dx, float* dresidual);
template <class T>
bool sum_rows(int64_t rows, int channels, const T* x, float* sum);
template <class T>
bool normalize_forward(int64_t rows, int channels, const T* x, const InputNorm& norm, const T* residual,
                       T* y);
template <class T>
bool normalize_sums(int64_t rows, int channels, const T* x, const InputNorm& norm, const T* y, const T* dy,
                    float* sums);
/// dx may be dy.
template <class T>
bool normalize_backward_x(int64_t rows, int channels, const T* x, const InputNorm& norm, const T* y,
                          const T* dy, const MomentsTerm& moments, T* dx, T* dresidual);
/// whole = the gradient that `dy` describes.
template <class T>
bool complete_gradient(int64_t rows, int channels, const OutputGradient<T>& dy, T* whole);
#else
template <class T>
bool batch_norm_statistics(int64_t, int, const T*, float*, float*) {
  return false;
}
inline bool batch_norm_forward(const BatchNormProblem&, float*) { return false; }
inline bool batch_norm_backward_parameters(const BatchNormProblem&, const float*, float*, float*) {
  return false;
}
inline bool batch_norm_backward_x(const BatchNormProblem&, const float*, const float*, const float*, bool,
                                  float*, float*) {
  return false;
}
template <class T>
bool sum_rows(int64_t, int, const T*, float*) {
  return false;
}
template <class T>
bool normalize_forward(int64_t, int, const T*, const InputNorm&, const T*, T*) {
  return false;
}
template <class T>
bool normalize_sums(int64_t, int, const T*, const InputNorm&, const T*, const T*, float*) {
  return false;
}
template <class T>
bool normalize_backward_x(int64_t, int, const T*, const InputNorm&, const T*, const T*, const MomentsTerm&,
                          T*, T*) {
  return false;
}
template <class T>
bool complete_gradient(int64_t, int, const OutputGradient<T>&, T*) {
  return false;
}
#endif

}  // namespace espalier::kernels::cuda
