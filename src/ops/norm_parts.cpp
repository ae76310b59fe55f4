#include "ops/norm_parts.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace espalier {

namespace {

enum Saved { kFactor, kOffset, kMean, kInverseDeviation, kBatchStatistics };

size_t at_size(int i) { return static_cast<size_t>(i); }

/// running += momentum * (factor * batch - running)
void blend(const Tensor& running, const float* batch, float momentum, float factor) {
  std::vector<float> values = running.to_vector();
  for (size_t c = 0; c < values.size(); ++c) values[c] += momentum * (factor * batch[c] - values[c]);
  running.set(values);
}

}  // namespace

void NormAttributes::visit(AttributeVisitor& v) {
  v.visit("eps", eps);
  v.visit("momentum", momentum);
  visit_activation(v, act);
}

void check_norm(const Op& op, const NormAttributes& norm, std::span<const Meta> in, NormInputs at,
                int channels) {
  const Shape pair{2, channels}, each{channels};
  for (size_t i = 0; i < in.size(); ++i)
    ESPALIER_CHECK(in[i].dtype == DType::kF32, op.name(), ": input ", i, " is ", in[i], "; expected f32");
  ESPALIER_CHECK(in[at_size(at.moments())].shape == pair, op.name(), ": moments are ",
                 in[at_size(at.moments())].shape, ", expected ", pair);
  for (int i = at.scale(); i <= at.variance(); ++i)
    ESPALIER_CHECK(in[at_size(i)].shape == each, op.name(), ": x has ", channels, " channels but input ", i,
                   " (of scale, shift, mean, variance) is ", in[at_size(i)].shape);
  ESPALIER_CHECK(norm.eps > 0 && norm.momentum >= 0 && norm.momentum <= 1, op.name(), ": eps is ", norm.eps,
                 " and momentum ", norm.momentum, "; eps must be positive, momentum in [0, 1]");
  ESPALIER_CHECK(norm.act.slope >= 0 && norm.act.cap > 0, op.name(), ": the activation has slope ",
                 norm.act.slope, " and cap ", norm.act.cap,
                 "; the slope must be at least 0 and the cap above 0, make it an op of its own otherwise");
}

void save_norm(const NormAttributes& norm, Ctx& c, NormInputs at, int64_t count) {
  const auto input = [&](int i) { return c.in[at_size(i)]; };
  const std::vector<float> moments = input(at.moments()).to_vector(), scale = input(at.scale()).to_vector(),
                           shift = input(at.shift()).to_vector();
  const size_t channels = scale.size();
  std::vector<float> mean, variance;
  if (c.training) {
    mean.assign(moments.begin(), moments.begin() + static_cast<std::ptrdiff_t>(channels));
    variance.assign(moments.begin() + static_cast<std::ptrdiff_t>(channels), moments.end());
    const float unbiased = count > 1 ? static_cast<float>(count) / static_cast<float>(count - 1) : 1.0f;
    blend(input(at.mean()), mean.data(), norm.momentum, 1.0f);
    blend(input(at.variance()), variance.data(), norm.momentum, unbiased);
  } else {
    mean = input(at.mean()).to_vector();
    variance = input(at.variance()).to_vector();
  }
  std::vector<float> factor(channels), offset(channels);
  for (size_t i = 0; i < channels; ++i) {
    variance[i] = 1.0f / std::sqrt(variance[i] + norm.eps);
    factor[i] = scale[i] * variance[i];
    offset[i] = shift[i] - mean[i] * factor[i];
  }
  const Shape each{static_cast<int>(channels)};
  c.saved.clear();
  for (const std::vector<float>& v : {factor, offset, mean, variance})
    c.saved.push_back(Tensor::from(v, each, c.device()));
  if (c.training) c.saved.push_back(Tensor::full({1}, 1));
}

kernels::InputNorm saved_norm(const NormAttributes& norm, const Ctx& c) {
  return {c.saved[kFactor].f32(), c.saved[kOffset].f32(), c.saved[kMean].f32(), norm.act};
}

void norm_gradients(const Ctx& c, NormInputs at, const Tensor& sums, Tensors& dx) {
  const std::vector<float> s = sums.to_vector(), factor = c.saved[kFactor].to_vector(),
                           inverse = c.saved[kInverseDeviation].to_vector();
  const size_t channels = factor.size();
  // With G the gradient before the activation: dshift = sum G, dscale = sum G * xhat, and the statistics'
  // gradients are those of scale * (x - mean) / sqrt(variance + eps).
  std::vector<float> moments(2 * channels), scale(channels), shift(channels);
  const bool batch_statistics = c.saved.size() > kBatchStatistics;
  for (size_t i = 0; i < channels; ++i) {
    shift[i] = s[i];
    scale[i] = s[channels + i] * inverse[i];
    if (!batch_statistics) continue;
    moments[i] = -factor[i] * s[i];
    moments[channels + i] = -0.5f * factor[i] * inverse[i] * inverse[i] * s[channels + i];
  }
  const Shape each{static_cast<int>(channels)};
  const auto give = [&](int i, const std::vector<float>& values, const Shape& shape) {
    if (c.needs_grad[at_size(i)]) dx[at_size(i)] = Tensor::from(values, shape, sums.device());
  };
  give(at.moments(), moments, {2, each[0]});
  give(at.scale(), scale, each);
  give(at.shift(), shift, each);
  for (int i : {at.mean(), at.variance()})
    ESPALIER_CHECK(!c.needs_grad[at_size(i)],
                   "running statistics have no gradient; they must not require one");
}

MomentsGradient moments_gradient(const Tensor& moments, const Tensor& dmoments, int64_t count) {
  const std::vector<float> d = dmoments.to_vector(), m = moments.to_vector();
  if (std::all_of(d.begin(), d.end(), [](float v) { return v == 0; })) return {};
  const size_t channels = d.size() / 2;
  // d mean / dy = 1 / count and d variance / dy = 2 (y - mean) / count.
  std::vector<float> constant(channels), slope(channels);
  for (size_t i = 0; i < channels; ++i) {
    slope[i] = static_cast<float>(2.0 * d[channels + i] / static_cast<double>(count));
    constant[i] = static_cast<float>(d[i] / static_cast<double>(count));
  }
  const Shape each{static_cast<int>(channels)};
  return {Tensor::from(constant, each, moments.device()), Tensor::from(slope, each, moments.device()),
          Tensor::from(std::span(m).first(channels), each, moments.device())};
}

}  // namespace espalier
