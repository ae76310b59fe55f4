#include "kernels/batch_norm_cpu.h"

#include <algorithm>
#include <vector>

namespace espalier::kernels::cpu {

namespace {

/// Rows are summed in at most this many parts, whatever the number of threads.
constexpr int kMostParts = 64;

/// body(first, last, sums) for parts of the rows, sums being the part's own [width] floats; then the totals
/// in double.
template <class Body>
std::vector<double> sum_in_parts(int64_t rows, int width, const Body& body) {
  const int parts = static_cast<int>(std::min<int64_t>(kMostParts, (rows + 15) / 16));
  std::vector<float> sums(static_cast<size_t>(parts) * width);
#pragma omp parallel for schedule(static)
  for (int part = 0; part < parts; ++part)
    body(rows * part / parts, rows * (part + 1) / parts, sums.data() + static_cast<size_t>(part) * width);
  std::vector<double> totals(width);
  for (int part = 0; part < parts; ++part)
    for (int i = 0; i < width; ++i) totals[i] += sums[static_cast<size_t>(part) * width + i];
  return totals;
}

/// inverse_deviation * scale of each channel. The normalisation stays (x - mean) * factor + shift: folding
/// the mean into the shift would save nothing beside the traffic and cancels where the mean is large.
std::vector<float> factors(const BatchNormProblem& b) {
  std::vector<float> factor(b.channels);
  for (int c = 0; c < b.channels; ++c) factor[c] = b.inverse_deviation[c] * b.scale[c];
  return factor;
}

/// g[c] = dy[c] through the activation of one row.
template <bool kResidual>
inline float gradient(float x, float mean, float factor, float shift, float residual, float dy,
                      Activation act) {
  const float v = kResidual ? (x - mean) * factor + shift + residual : (x - mean) * factor + shift;
  return act.gradient(v, dy);
}

template <bool kResidual>
void forward_rows(const BatchNormProblem& b, const std::vector<float>& per_channel, int64_t first,
                  int64_t last, float* y) {
  const int C = b.channels;
  const float *factor = per_channel.data(), *shift = b.shift, *mean = b.mean;
  const Activation act = b.act;
  for (int64_t i = first; i < last; ++i) {
    const float *x = b.x + i * C, *r = kResidual ? b.residual + i * C : nullptr;
    float* out = y + i * C;
#pragma omp simd
    for (int c = 0; c < C; ++c) {
      float v = (x[c] - mean[c]) * factor[c] + shift[c];
      if (kResidual) v += r[c];
      out[c] = act(v);
    }
  }
}

/// sums: [g][g * (x - mean)]
template <bool kResidual>
void parameter_rows(const BatchNormProblem& b, const std::vector<float>& per_channel, const float* dy,
                    int64_t first, int64_t last, float* sums) {
  const int C = b.channels;
  const float *factor = per_channel.data(), *shift = b.shift, *mean = b.mean;
  const Activation act = b.act;
  float *sum = sums, *product = sums + C;
  for (int64_t i = first; i < last; ++i) {
    const float *x = b.x + i * C, *d = dy + i * C, *r = kResidual ? b.residual + i * C : nullptr;
#pragma omp simd
    for (int c = 0; c < C; ++c) {
      const float g =
          gradient<kResidual>(x[c], mean[c], factor[c], shift[c], kResidual ? r[c] : 0.0f, d[c], act);
      sum[c] += g;
      product[c] += g * (x[c] - mean[c]);
    }
  }
}

template <bool kResidual, bool kWriteResidual>
void x_rows(const BatchNormProblem& b, const std::vector<float>& per_channel, const float* dy,
            const float* constant, const float* slope_of_x, int64_t first, int64_t last, float* dx,
            float* dresidual) {
  const int C = b.channels;
  const float *factor = per_channel.data(), *shift = b.shift, *mean = b.mean;
  const Activation act = b.act;
  for (int64_t i = first; i < last; ++i) {
    const float *x = b.x + i * C, *d = dy + i * C, *r = kResidual ? b.residual + i * C : nullptr;
    float *out = dx + i * C, *g_out = kWriteResidual ? dresidual + i * C : nullptr;
#pragma omp simd
    for (int c = 0; c < C; ++c) {
      const float g =
          gradient<kResidual>(x[c], mean[c], factor[c], shift[c], kResidual ? r[c] : 0.0f, d[c], act);
      if (kWriteResidual) g_out[c] = g;
      out[c] = g * factor[c] - constant[c] - (x[c] - mean[c]) * slope_of_x[c];
    }
  }
}

/// body(first, last) over equal shares of the rows.
template <class Body>
void share_rows(int64_t rows, const Body& body) {
  const int shares = static_cast<int>(std::min<int64_t>(256, (rows + 7) / 8));
#pragma omp parallel for schedule(static)
  for (int i = 0; i < shares; ++i) body(rows * i / shares, rows * (i + 1) / shares);
}

}  // namespace

void batch_norm_statistics(int64_t rows, int channels, const float* x, float* mean, float* variance) {
  // One pass over x with sums of differences from a value near the mean: plain sums of squares would cancel.
  std::vector<float> center(channels);
  const int samples = static_cast<int>(std::min<int64_t>(16, rows));
  for (int s = 0; s < samples; ++s)
    for (int c = 0; c < channels; ++c)
      center[c] += x[rows * s / samples * channels + c] / static_cast<float>(samples);
  const std::vector<double> sums =
      sum_in_parts(rows, 2 * channels, [&](int64_t first, int64_t last, float* part) {
        float *sum = part, *square = part + channels;
        const float* middle = center.data();
        for (int64_t i = first; i < last; ++i) {
          const float* row = x + i * channels;
#pragma omp simd
          for (int c = 0; c < channels; ++c) {
            const float d = row[c] - middle[c];
            sum[c] += d;
            square[c] += d * d;
          }
        }
      });
  for (int c = 0; c < channels; ++c) {
    const double d = sums[c] / static_cast<double>(rows);
    mean[c] = static_cast<float>(center[c] + d);
    variance[c] = static_cast<float>(std::max(0.0, sums[channels + c] / static_cast<double>(rows) - d * d));
  }
}

void batch_norm_forward(const BatchNormProblem& b, float* y) {
  const std::vector<float> factor = factors(b);
  share_rows(b.rows, [&](int64_t first, int64_t last) {
    b.residual ? forward_rows<true>(b, factor, first, last, y)
               : forward_rows<false>(b, factor, first, last, y);
  });
}

void batch_norm_backward_parameters(const BatchNormProblem& b, const float* dy, float* dscale,
                                    float* dshift) {
  const std::vector<float> factor = factors(b);
  const std::vector<double> sums =
      sum_in_parts(b.rows, 2 * b.channels, [&](int64_t first, int64_t last, float* part) {
        b.residual ? parameter_rows<true>(b, factor, dy, first, last, part)
                   : parameter_rows<false>(b, factor, dy, first, last, part);
      });
  for (int c = 0; c < b.channels; ++c) {
    dshift[c] = static_cast<float>(sums[c]);
    dscale[c] = static_cast<float>(sums[b.channels + c] * b.inverse_deviation[c]);
  }
}

void batch_norm_backward_x(const BatchNormProblem& b, const float* dy, const float* dscale,
                           const float* dshift, bool batch_statistics, float* dx, float* dresidual) {
  // dx = g * factor - constant - (x - mean) * slope, with everything per channel worked out before.
  const std::vector<float> factor = factors(b);
  std::vector<float> constant(b.channels), slope(b.channels);
  if (batch_statistics)
    for (int c = 0; c < b.channels; ++c) {
      const double scale = double{factor[c]} / static_cast<double>(b.rows),
                   of_x = double{b.inverse_deviation[c]} * dscale[c];
      slope[c] = static_cast<float>(scale * of_x);
      constant[c] = static_cast<float>(scale * dshift[c]);
    }
  share_rows(b.rows, [&](int64_t first, int64_t last) {
    if (b.residual && dresidual)
      x_rows<true, true>(b, factor, dy, constant.data(), slope.data(), first, last, dx, dresidual);
    else if (b.residual)
      x_rows<true, false>(b, factor, dy, constant.data(), slope.data(), first, last, dx, dresidual);
    else
      x_rows<false, false>(b, factor, dy, constant.data(), slope.data(), first, last, dx, dresidual);
  });
}

}  // namespace espalier::kernels::cpu
