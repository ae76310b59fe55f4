#include "ops/fake_quantize.h"

#include <cmath>

#include "base/error.h"
#include "kernels/fake_quantize.h"
#include "ops/channel_ties.h"
#include "ops/ops.h"

namespace espalier {

namespace {

kernels::FakeQuantizeProblem problem(const FakeQuantize& op, const Ctx& c, const Tensor& scale) {
  const Shape& shape = c.in[0].shape();
  kernels::FakeQuantizeProblem p{1, 1, 1, c.in[0].f32(), scale.f32(), op.low, op.high};
  for (int a = 0; a < shape.axes(); ++a)
    (a < op.axis ? p.outer : a == op.axis ? p.channels : p.inner) *= shape[a];
  return p;
}

/// A step of the optimizer may take a scale past 0; its size counts, and 0 is none.
Tensor positive(const Tensor& scale) {
  std::vector<float> sizes = scale.to_vector();
  for (float& s : sizes) s = std::max(std::abs(s), 1e-12f);
  return Tensor::from(sizes, scale.shape(), scale.device());
}

}  // namespace

Metas FakeQuantize::infer(std::span<const Meta> in) const {
  check_f32(*this, in, 2);
  ESPALIER_CHECK(in[0].shape.axes() > 0 && axis >= -1 && axis < in[0].shape.axes(), "fake_quantize: axis is ",
                 axis, ", x is ", in[0].shape, "; it must be one of its axes, or -1");
  ESPALIER_CHECK(low <= 0 && high > 0, "fake_quantize: codes are ", low, " .. ", high,
                 "; 0 must be one of several");
  const Shape scales = {axis < 0 ? 1 : in[0].shape[axis]};
  ESPALIER_CHECK(in[1].shape == scales, "fake_quantize: scales are ", in[1].shape, ", expected ", scales);
  return {in[0]};
}

void FakeQuantize::forward(Ctx& c) const {
  c.saved = {positive(c.in[1])};
  kernels::fake_quantize_forward(c.device(), problem(*this, c, c.saved[0]), c.out[0].f32());
}

Tensors FakeQuantize::backward(Ctx& c, std::span<const Tensor> dy) const {
  const kernels::FakeQuantizeProblem p = problem(*this, c, c.saved[0]);
  Tensors dx(2);
  if (c.needs_grad[0]) {
    dx[0] = Tensor(c.in[0].shape(), dy[0].device());
    kernels::fake_quantize_input_gradient(dx[0].device(), p, dy[0].f32(), dx[0].f32());
  }
  if (c.needs_grad[1]) {
    const int pieces = static_cast<int>(kernels::fake_quantize_parts(p)),
              channels = static_cast<int>(p.channels);
    const Tensor parts({channels, pieces}, dy[0].device());
    kernels::fake_quantize_scale_gradient(parts.device(), p, dy[0].f32(), parts.f32());
    const std::vector<float> sums = parts.to_vector(), before = c.in[1].to_vector();
    // A scale feels all elements at once: its step is made as large as theirs (section 2.2 of the paper).
    const double factor = 1 / std::sqrt(static_cast<double>(p.outer * p.inner) * high);
    std::vector<float> gradient;
    for (int k = 0; k < channels; ++k) {
      double sum = 0;
      for (int i = 0; i < pieces; ++i) sum += sums[static_cast<size_t>(k) * pieces + i];
      gradient.push_back(static_cast<float>(before[k] < 0 ? -factor * sum : factor * sum));
    }
    dx[1] = Tensor::from(gradient, c.in[1].shape(), dy[0].device());
  }
  return dx;
}

void FakeQuantize::channels(ChannelTies& t) const {
  t.same(t.in(0), t.out());
  if (axis < 0) return;
  t.same(t.in(0, axis), t.out(0, axis));
  t.same(t.in(0, axis), t.in(1, 0));
}

void FakeQuantize::attributes(AttributeVisitor& v) {
  v.visit("low", low);
  v.visit("high", high);
  v.visit("axis", axis);
}

std::shared_ptr<Op> make_fake_quantize() { return std::make_shared<FakeQuantize>(); }

Tensor fake_quantize(const Tensor& x, const Tensor& scale, float low, float high, int axis) {
  auto op = std::make_shared<FakeQuantize>();
  op->low = low;
  op->high = high;
  op->axis = axis;
  return apply1(op, {x, scale});
}

}  // namespace espalier
