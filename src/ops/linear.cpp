#include "ops/linear.h"

#include "base/error.h"
#include "kernels/conv2d.h"
#include "ops/channel_ties.h"
#include "ops/onnx_nodes.h"
#include "ops/ops.h"

namespace espalier {

namespace {

/// A linear layer is a convolution of 1x1 images.
kernels::ConvShape shape_of(const Shape& x, const Shape& w) { return {x[0], 1, 1, x[1], w[0], 1, 1, 1, {}}; }

}  // namespace

Metas Linear::infer(std::span<const Meta> in) const {
  const size_t expected = has_bias ? 3 : 2;
  ESPALIER_CHECK(in.size() == expected, "linear: ", in.size(), " inputs, ", expected, " expected");
  for (size_t i = 0; i < in.size(); ++i)
    ESPALIER_CHECK(in[i].dtype == DType::kF32, "linear: input ", i, " is ", in[i], "; expected f32");
  const Shape &x = in[0].shape, &w = in[1].shape;
  ESPALIER_CHECK(x.axes() == 2 && w.axes() == 2, "linear: x is ", x, " and w is ", w,
                 "; both need 2 axes, x [N,C] and w [K,C]");
  ESPALIER_CHECK(x[1] == w[1], "linear: x has ", x[1], " channels but w expects ", w[1], " (x ", x, ", w ", w,
                 ")");
  ESPALIER_CHECK(x.elements() > 0 && w.elements() > 0, "linear: x is ", x, " and w is ", w,
                 "; no extent may be 0");
  ESPALIER_CHECK(act.slope >= 0 && act.cap > 0, "linear: the fused activation has slope ", act.slope,
                 " and cap ", act.cap,
                 "; the slope must be at least 0 and the cap above 0, make it an op of its own otherwise");
  if (has_bias)
    ESPALIER_CHECK(in[2].shape == Shape{w[0]}, "linear: bias is ", in[2].shape, ", expected ", Shape{w[0]});
  return {{Shape{x[0], w[0]}, DType::kF32}};
}

void Linear::forward(Ctx& c) const {
  kernels::conv2d_forward(c.device(), shape_of(c.in[0].shape(), c.in[1].shape()), c.in[0].f32(),
                          c.in[1].f32(), {.bias = has_bias ? c.in[2].f32() : nullptr, .act = act},
                          c.out[0].f32());
}

Tensors Linear::backward(Ctx& c, std::span<const Tensor> dy) const {
  const auto s = shape_of(c.in[0].shape(), c.in[1].shape());
  Tensor g = dy[0];
  if (!act.is_none()) {
    // infer() saw to it that the output tells on which piece of the activation the input was.
    g = Tensor(g.shape(), g.device());
    kernels::activation_backward(g.device(), g.elements(), act, c.out[0].f32(), dy[0].f32(), g.f32());
  }
  Tensors dx(c.in.size());
  if (c.needs_grad[0]) {
    dx[0] = Tensor(c.in[0].shape(), g.device());
    kernels::conv2d_backward_x(g.device(), s, g.f32(), c.in[1].f32(), dx[0].f32());
  }
  if (c.needs_grad[1]) {
    dx[1] = Tensor(c.in[1].shape(), g.device());
    kernels::conv2d_backward_w(g.device(), s, c.in[0].f32(), g.f32(), dx[1].f32());
  }
  if (has_bias && c.needs_grad[2]) {
    dx[2] = Tensor(c.in[2].shape(), g.device());
    kernels::sum_rows(g.device(), s.N, s.K, g.f32(), dx[2].f32());
  }
  return dx;
}

void Linear::channels(ChannelTies& t) const {
  t.same(t.in(0), t.in(1, 1));
  t.same(t.in(1, 0), t.out());
  if (has_bias) t.same(t.in(2), t.out());
}

void Linear::attributes(AttributeVisitor& v) {
  visit_activation(v, act);
  v.visit("has_bias", has_bias);
}

int64_t Linear::macs(std::span<const Meta> in, std::span<const Meta>) const {
  return in[0].shape[0] * in[1].shape.elements();
}

Keep Linear::keep() const { return {.inputs = 3, .outputs = act.is_none() ? 0u : 1u}; }

void Linear::to_onnx(OnnxNodes& nodes) const {
  std::vector<OnnxNodes::Name> in = {nodes.in(0), nodes.constant("w", nodes.parameter(1))};
  if (has_bias) in.push_back(nodes.constant("bias", nodes.parameter(2)));
  nodes.out(onnx_words::activated(nodes, nodes.node("Gemm", in, {{"transB", int64_t{1}}}), act));
}

std::shared_ptr<Op> make_linear() { return std::make_shared<Linear>(); }

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias, Activation act) {
  auto op = std::make_shared<Linear>();
  op->act = act;
  op->has_bias = bias.defined();
  return op->has_bias ? apply1(op, {x, w, bias}) : apply1(op, {x, w});
}

}  // namespace espalier
