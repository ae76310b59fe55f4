#include "ops/norm_parts.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/norm_parts.h"

namespace espalier {

namespace {

enum Saved { kFactor, kOffset, kMean, kInverseDeviation, kBatchStatistics };

size_t at_size(int i) { return static_cast<size_t>(i); }

}  // namespace

void NormAttributes::visit(AttributeVisitor& v) {
  v.visit("eps", eps);
  v.visit("momentum", momentum);
  visit_activation(v, act);
}

void check_norm(const Op& op, const NormAttributes& norm, std::span<const Meta> in, NormInputs at,
                int channels) {
  const Shape pair{2, channels}, each{channels};
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

Tensor batch_statistics_mark() { return Tensor::full({1}, 1); }

void save_norm(const NormAttributes& norm, Ctx& c, NormInputs at, int64_t count) {
  const auto input = [&](int i) { return c.in[at_size(i)].f32(); };
  const int channels = c.in[at_size(at.scale())].channels();
  const float* moments = c.training ? input(at.moments()) : nullptr;
  c.saved.clear();
  for (int i = kFactor; i <= kInverseDeviation; ++i) c.saved.emplace_back(Shape{channels}, c.device());
  kernels::norm_coefficients(c.device(),
                             {.channels = channels,
                              .mean = moments,
                              .variance = moments ? moments + channels : nullptr,
                              .running_mean = input(at.mean()),
                              .running_variance = input(at.variance()),
                              .momentum = norm.momentum,
                              .eps = norm.eps,
                              .count = count},
                             input(at.scale()), input(at.shift()),
                             {.factor = c.saved[kFactor].f32(),
                              .offset = c.saved[kOffset].f32(),
                              .mean = c.saved[kMean].f32(),
                              .inverse_deviation = c.saved[kInverseDeviation].f32()});
  if (c.training) c.saved.push_back(batch_statistics_mark());
}

kernels::InputNorm saved_norm(const NormAttributes& norm, const Ctx& c) {
  return {c.saved[kFactor].f32(), c.saved[kOffset].f32(), c.saved[kMean].f32(), norm.act};
}

void norm_gradients(const Ctx& c, NormInputs at, const Tensor& sums, Tensors& dx) {
  const int channels = sums.channels();
  const auto made = [&](int i, const Shape& shape) -> float* {
    if (!c.needs_grad[at_size(i)]) return nullptr;
    dx[at_size(i)] = Tensor(shape, sums.device());
    return dx[at_size(i)].f32();
  };
  kernels::norm_gradients(sums.device(), channels, sums.f32(), c.saved[kFactor].f32(),
                          c.saved[kInverseDeviation].f32(), c.saved.size() > kBatchStatistics,
                          {.moments = made(at.moments(), {2, channels}),
                           .scale = made(at.scale(), {channels}),
                           .shift = made(at.shift(), {channels})});
  for (int i : {at.mean(), at.variance()})
    ESPALIER_CHECK(!c.needs_grad[at_size(i)],
                   "running statistics have no gradient; they must not require one");
}

MomentsGradient moments_gradient(const Tensor& dmoments, int64_t count) {
  if (!dmoments.defined()) return {};
  // On the CPU a look is cheap, and may save passes over the whole tensor.
  if (dmoments.device() == Device::kCpu &&
      std::all_of(dmoments.f32(), dmoments.f32() + dmoments.elements(), [](float v) { return v == 0; }))
    return {};
  const int channels = dmoments.channels();
  const Tensor constant({channels}, dmoments.device()), slope({channels}, dmoments.device());
  kernels::moments_gradient(dmoments.device(), channels, count, dmoments.f32(), constant.f32(), slope.f32());
  return {constant, slope};
}

}  // namespace espalier
