#pragma once
// The per-channel arithmetic of batch norms: a few numbers for each of C channels, where the device has them.

#include <cstdint>

#include "kernels/device.h"

namespace espalier::kernels {

/// What becomes of a batch's statistics. Pointers are [C].
struct NormStatistics {
  int channels;
  const float *mean, *variance;            ///< of the batch, biased; null outside training
  float *running_mean, *running_variance;  ///< moved towards them in training, taken instead otherwise
  float momentum, eps;
  int64_t count;  ///< rows that the batch's statistics are of

  /// What makes a biased variance an unbiased one.
  float unbiased() const {
    return count > 1 ? static_cast<float>(count) / static_cast<float>(count - 1) : 1.0f;
  }
};

/// With training: running += momentum * (batch - running), the variance unbiased (PyTorch's). Then, of the
/// batch or else of the running statistics: used_mean = mean, inverse_deviation = 1 / sqrt(variance + eps).
/// inverse_deviation may be the batch's variance.
void norm_statistics(Device device, const NormStatistics& statistics, float* used_mean,
                     float* inverse_deviation);

/// The same, and what a convolution applies: factor = scale * inverse_deviation, offset = shift - mean *
/// factor.
struct NormCoefficients {
  float *factor, *offset, *mean, *inverse_deviation;
};
void norm_coefficients(Device device, const NormStatistics& statistics, const float* scale,
                       const float* shift, const NormCoefficients& coefficients);

/// Where gradients go, each null or [C], moments [2,C].
struct NormGradients {
  float *moments, *scale, *shift;
};
/// From sums [2,C], of G and of G * (x - mean), G the gradient before the activation: dshift = sum G,
/// dscale = sum G * xhat, and the moments' (mean and variance of the batch; 0 without `batch_statistics`) are
/// those of scale * (x - mean) / sqrt(variance + eps).
void norm_gradients(Device device, int channels, const float* sums, const float* factor,
                    const float* inverse_deviation, bool batch_statistics, const NormGradients& gradients);

/// What dmoments [2,C] adds to the gradient of the `count` rows y that they were taken of:
/// constant[c] + slope[c] * (y - mean[c]), since d mean / dy = 1 / count and d variance / dy =
/// 2 (y - mean) / count.
void moments_gradient(Device device, int channels, int64_t count, const float* dmoments, float* constant,
                      float* slope);

}  // namespace espalier::kernels
