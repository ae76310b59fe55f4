#include "ops/batch_norm.h"

#include "base/error.h"
#include "kernels/batch_norm.h"
#include "kernels/norm_parts.h"
#include "ops/channel_ties.h"
#include "ops/norm_parts.h"
#include "ops/onnx_nodes.h"
#include "ops/ops.h"

namespace espalier {

namespace {

enum Input { kX, kScale, kShift, kMean, kVariance, kResidual };
enum Saved { kUsedMean, kInverseDeviation, kBatchStatistics };

kernels::BatchNormProblem problem_of(const BatchNorm& op, const Ctx& c) {
  const Tensor& x = c.in[kX];
  const bool needs_residual = op.has_residual && c.in[kResidual].has_data();
  return {.rows = x.elements() / x.channels(),
          .channels = x.channels(),
          .x = x.f32(),
          .mean = c.saved[kUsedMean].f32(),
          .inverse_deviation = c.saved[kInverseDeviation].f32(),
          .scale = c.in[kScale].f32(),
          .shift = c.in[kShift].f32(),
          .residual = needs_residual ? c.in[kResidual].f32() : nullptr,
          .act = op.act};
}

}  // namespace

Metas BatchNorm::infer(std::span<const Meta> in) const {
  check_f32(*this, in, has_residual ? 6 : 5);
  const Shape &x = in[kX].shape, channels{x.back()};
  ESPALIER_CHECK(x.axes() >= 1 && x.elements() > 0, "batch_norm: x is ", x,
                 "; it must be [...,C], and no extent 0");
  for (int i = kScale; i <= kVariance; ++i)
    ESPALIER_CHECK(in[i].shape == channels, "batch_norm: x has ", x.back(), " channels but input ", i,
                   " (of scale, shift, mean, variance) is ", in[i].shape);
  if (has_residual)
    ESPALIER_CHECK(in[kResidual].shape == x, "batch_norm: residual is ", in[kResidual].shape, ", x is ", x,
                   "; both must be equal");
  ESPALIER_CHECK(eps > 0 && momentum >= 0 && momentum <= 1, "batch_norm: eps is ", eps, " and momentum ",
                 momentum, "; eps must be positive, momentum in [0, 1]");
  return {in[kX]};
}

void BatchNorm::forward(Ctx& c) const {
  const Tensor& x = c.in[kX];
  const int channels = x.channels();
  const int64_t rows = x.elements() / channels;
  const Tensor mean({channels}, x.device()), inverse({channels}, x.device());
  kernels::NormStatistics statistics{.channels = channels,
                                     .mean = nullptr,
                                     .variance = nullptr,
                                     .running_mean = c.in[kMean].f32(),
                                     .running_variance = c.in[kVariance].f32(),
                                     .momentum = momentum,
                                     .eps = eps,
                                     .count = rows};
  if (c.training) {
    kernels::batch_norm_statistics(x.device(), rows, channels, x.f32(), mean.f32(), inverse.f32());
    statistics.mean = mean.f32();
    statistics.variance = inverse.f32();
  }
  kernels::norm_statistics(x.device(), statistics, mean.f32(), inverse.f32());
  c.saved = {mean, inverse};
  if (c.training) c.saved.push_back(batch_statistics_mark());
  kernels::batch_norm_forward(x.device(), problem_of(*this, c), c.out[0].f32());
}

Tensors BatchNorm::backward(Ctx& c, std::span<const Tensor> dy) const {
  const auto b = problem_of(*this, c);
  const Device device = dy[0].device();
  const bool batch_statistics = c.saved.size() > kBatchStatistics;
  Tensors dx(c.in.size());
  dx[kScale] = Tensor({b.channels}, device);
  dx[kShift] = Tensor({b.channels}, device);
  kernels::batch_norm_backward_parameters(device, b, dy[0].f32(), dx[kScale].f32(), dx[kShift].f32());
  const bool wants_residual = has_residual && c.needs_grad[kResidual];
  if (wants_residual) dx[kResidual] = act.is_none() ? dy[0] : Tensor(dy[0].shape(), device);
  if (c.needs_grad[kX] || (wants_residual && !act.is_none())) {
    dx[kX] = Tensor(c.in[kX].shape(), device);
    kernels::batch_norm_backward_x(device, b, dy[0].f32(), dx[kScale].f32(), dx[kShift].f32(),
                                   batch_statistics, dx[kX].f32(),
                                   wants_residual && !act.is_none() ? dx[kResidual].f32() : nullptr);
  }
  for (int i : {kMean, kVariance})
    ESPALIER_CHECK(!c.needs_grad[i],
                   "batch_norm: running statistics have no gradient; they must not require one");
  return dx;
}

void BatchNorm::channels(ChannelTies& t) const {
  for (int i = kScale; i <= kVariance; ++i) t.same(t.in(kX), t.in(i));
  t.same(t.in(kX), t.out());
  if (has_residual) t.same(t.in(kResidual), t.out());
}

void BatchNorm::attributes(AttributeVisitor& v) {
  v.visit("eps", eps);
  v.visit("momentum", momentum);
  visit_activation(v, act);
  v.visit("has_residual", has_residual);
}

/// The residual's values are needed only to see on which piece of the activation a value was.
Keep BatchNorm::keep() const {
  return {.inputs = 1u << kX | 1u << kScale | 1u << kShift | (act.is_none() ? 0u : 1u << kResidual)};
}

std::shared_ptr<Op> make_batch_norm() { return std::make_shared<BatchNorm>(); }

void BatchNorm::to_onnx(OnnxNodes& nodes) const {
  std::vector<OnnxNodes::Name> in = {nodes.in(0)};
  constexpr const char* kParameters[] = {"scale", "shift", "mean", "variance"};
  for (int i = 0; i < 4; ++i) in.push_back(nodes.constant(kParameters[i], nodes.parameter(i + 1)));
  OnnxNodes::Name y = nodes.node("BatchNormalization", in, {{"epsilon", eps}});
  if (has_residual) y = nodes.node("Add", {y, nodes.in(5)});
  nodes.out(onnx_words::activated(nodes, y, act));
}

Tensor batch_norm(const Tensor& x, const Tensor& scale, const Tensor& shift, const Tensor& mean,
                  const Tensor& variance, const BatchNormOptions& o) {
  auto op = std::make_shared<BatchNorm>();
  op->eps = o.eps;
  op->momentum = o.momentum;
  op->act = o.act;
  op->has_residual = o.residual.defined();
  Tensors in = {x, scale, shift, mean, variance};
  if (op->has_residual) in.push_back(o.residual);
  return apply1(op, in);
}

}  // namespace espalier
