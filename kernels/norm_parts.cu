#include "kernels/norm_parts.h"

#include <cmath>

#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

ESPALIER_HD void blend(float& running, float batch, float momentum) {
  running += momentum * (batch - running);
}

/// Moves the running statistics of channel c; the mean and variance that are to be used.
struct Used {
  float mean, variance;
  ESPALIER_HD static Used of(const NormStatistics& s, float unbiased, int64_t c) {
    if (!s.mean) return {s.running_mean[c], s.running_variance[c]};
    const Used batch{s.mean[c], s.variance[c]};
    blend(s.running_mean[c], batch.mean, s.momentum);
    blend(s.running_variance[c], unbiased * batch.variance, s.momentum);
    return batch;
  }
  ESPALIER_HD float inverse(float eps) const { return 1.0f / std::sqrt(variance + eps); }
};

/// One item is one channel.
struct Statistics {
  NormStatistics s;
  float unbiased;
  float *mean, *inverse_deviation;
  ESPALIER_HD void operator()(int64_t c) const {
    const Used used = Used::of(s, unbiased, c);
    mean[c] = used.mean;
    inverse_deviation[c] = used.inverse(s.eps);
  }
};

/// One item is one channel.
struct Coefficients {
  NormStatistics s;
  float unbiased;
  const float *scale, *shift;
  NormCoefficients out;
  ESPALIER_HD void operator()(int64_t c) const {
    const Used used = Used::of(s, unbiased, c);
    const float inverse = used.inverse(s.eps), factor = scale[c] * inverse;
    out.factor[c] = factor;
    out.offset[c] = shift[c] - used.mean * factor;
    out.mean[c] = used.mean;
    out.inverse_deviation[c] = inverse;
  }
};

/// One item is one channel.
struct Gradients {
  int channels;
  const float *sums, *factor, *inverse;
  bool batch_statistics;
  NormGradients out;
  ESPALIER_HD void operator()(int64_t c) const {
    const float sum = sums[c], product = sums[channels + c];
    if (out.shift) out.shift[c] = sum;
    if (out.scale) out.scale[c] = product * inverse[c];
    if (!out.moments) return;
    out.moments[c] = batch_statistics ? -factor[c] * sum : 0.0f;
    out.moments[channels + c] =
        batch_statistics ? -0.5f * factor[c] * inverse[c] * inverse[c] * product : 0.0f;
  }
};

/// One item is one channel.
struct OfMoments {
  int channels;
  double count;
  const float* dmoments;
  float *constant, *slope;
  ESPALIER_HD void operator()(int64_t c) const {
    constant[c] = static_cast<float>(dmoments[c] / count);
    slope[c] = static_cast<float>(2.0 * dmoments[channels + c] / count);
  }
};

}  // namespace

void norm_statistics(Device device, const NormStatistics& s, float* used_mean, float* inverse_deviation) {
  for_each(device, s.channels, Statistics{s, s.unbiased(), used_mean, inverse_deviation});
}

void norm_coefficients(Device device, const NormStatistics& s, const float* scale, const float* shift,
                       const NormCoefficients& out) {
  for_each(device, s.channels, Coefficients{s, s.unbiased(), scale, shift, out});
}

void norm_gradients(Device device, int channels, const float* sums, const float* factor,
                    const float* inverse_deviation, bool batch_statistics, const NormGradients& out) {
  for_each(device, channels, Gradients{channels, sums, factor, inverse_deviation, batch_statistics, out});
}

void moments_gradient(Device device, int channels, int64_t count, const float* dmoments, float* constant,
                      float* slope) {
  for_each(device, channels, OfMoments{channels, static_cast<double>(count), dmoments, constant, slope});
}

}  // namespace espalier::kernels
