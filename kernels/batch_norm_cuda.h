#pragma once
// Batch norms and other work per channel on the GPU, with the formulas of batch_norm.h, normed_conv.h and
// conv2d.h. Each returns false, having done nothing, for a problem it has no code for. Sums are split in
// parts whose number depends on the shapes alone.

#include "kernels/batch_norm.h"
#include "kernels/normed_conv.h"

namespace espalier::kernels::cuda {

#ifdef ESPALIER_HAS_CUDA
bool batch_norm_statistics(int64_t rows, int channels, const float* x, float* mean, float* variance);
bool batch_norm_forward(const BatchNormProblem& problem, float* y);
bool batch_norm_backward_parameters(const BatchNormProblem& problem, const float* dy, float* dscale,
                                    float* dshift);
bool batch_norm_backward_x(const BatchNormProblem& problem, const float* dy, const float* dscale,
                           const float* dshift, bool batch_statistics, float* dx, float* dresidual);
bool sum_rows(int64_t rows, int channels, const float* x, float* sum);
bool normalize_forward(int64_t rows, int channels, const float* x, const InputNorm& norm,
                       const float* residual, float* y);
/// Without y the activation's place is found from x and the norm again.
bool normalize_backward(int64_t rows, int channels, const float* x, const InputNorm& norm, const float* y,
                        const float* dy, float* dx, float* sums, float* dresidual);
/// whole = the gradient that `dy` describes.
bool complete_gradient(int64_t rows, int channels, const OutputGradient& dy, float* whole);
#else
inline bool batch_norm_statistics(int64_t, int, const float*, float*, float*) { return false; }
inline bool batch_norm_forward(const BatchNormProblem&, float*) { return false; }
inline bool batch_norm_backward_parameters(const BatchNormProblem&, const float*, float*, float*) {
  return false;
}
inline bool batch_norm_backward_x(const BatchNormProblem&, const float*, const float*, const float*, bool,
                                  float*, float*) {
  return false;
}
inline bool sum_rows(int64_t, int, const float*, float*) { return false; }
inline bool normalize_forward(int64_t, int, const float*, const InputNorm&, const float*, float*) {
  return false;
}
inline bool normalize_backward(int64_t, int, const float*, const InputNorm&, const float*, const float*,
                               float*, float*, float*) {
  return false;
}
inline bool complete_gradient(int64_t, int, const OutputGradient&, float*) { return false; }
#endif

}  // namespace espalier::kernels::cuda
