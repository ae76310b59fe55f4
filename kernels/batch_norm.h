#pragma once
// Batch normalisation with what follows it in the same pass: an optional residual and an activation.

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/bf16.h"
#include "kernels/device.h"

namespace espalier::kernels {

/// One normalisation: x, y, residual [rows, channels]; the rest [channels].
struct BatchNormProblem {
  int64_t rows;
  int channels;
  const float* x;
  const float *mean, *inverse_deviation;  ///< of the batch in training, of the running statistics otherwise
  const float *scale, *shift;
  const float* residual;  ///< or null
  Activation act;
};

/// mean[c] = mean of x[:,c], variance[c] = mean of (x[:,c] - mean[c])^2 (biased). T is float or Bf16.
template <class T>
void batch_norm_statistics(Device device, int64_t rows, int channels, const T* x, float* mean,
                           float* variance);

/// y = act((x - mean) * inverse_deviation * scale + shift + residual)
void batch_norm_forward(Device device, const BatchNormProblem& problem, float* y);

/// With g = dy * act'(...): dscale[c] = sum of g * (x - mean) * inverse_deviation, dshift[c] = sum of g.
void batch_norm_backward_parameters(Device device, const BatchNormProblem& problem, const float* dy,
                                    float* dscale, float* dshift);

/// dx = scale * inverse_deviation * (g - (dshift + xhat * dscale) / rows) where the statistics came from the
/// batch, scale * inverse_deviation * g where they were constants. dresidual = g; it may be null.
void batch_norm_backward_x(Device device, const BatchNormProblem& problem, const float* dy,
                           const float* dscale, const float* dshift, bool batch_statistics, float* dx,
                           float* dresidual);

}  // namespace espalier::kernels
