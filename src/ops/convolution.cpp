#include "ops/convolution.h"

#include "base/error.h"
#include "ops/channel_ties.h"
#include "ops/onnx_nodes.h"
#include "ops/storage.h"

namespace espalier {

uint32_t Convolution::may_be_bf16() const { return 1u | (has_residual ? 1u << (has_bias ? 3 : 2) : 0u); }

void Convolution::attributes(AttributeVisitor& v) {
  v.visit("stride", stride);
  visit_padding(v, pad);
  visit_activation(v, act);
  v.visit("has_bias", has_bias);
  v.visit("has_residual", has_residual);
}

void check_inputs(const Convolution& op, std::span<const Meta> in) {
  check_activations(op, in, 2 + (op.has_bias ? 1 : 0) + (op.has_residual ? 1 : 0));
}

void check_fused(const Convolution& op) {
  ESPALIER_CHECK(op.act.slope >= 0 && op.act.cap > 0, op.name(), ": the fused activation has slope ",
                 op.act.slope, " and cap ", op.act.cap,
                 "; the slope must be at least 0 and the cap above 0, make it an op of its own otherwise");
}

void check_window(const char* op, const kernels::ConvShape& s) {
  ESPALIER_CHECK(s.stride >= 1, op, ": stride is ", s.stride, "; it must be at least 1");
  const Padding& p = s.pad;
  // Far more than any filter needs, and so little that extents with it stay in 32 bits.
  constexpr int kMostPadding = 1 << 20, kLargest = 1 << 30;
  const auto within = [](int pad) { return pad >= 0 && pad <= kMostPadding; };
  ESPALIER_CHECK(within(p.top) && within(p.left) && within(p.bottom) && within(p.right), op,
                 ": the padding is ", p.top, ",", p.left, ",", p.bottom, ",", p.right,
                 " (top, left, bottom, right); each must lie in 0 .. ", kMostPadding);
  ESPALIER_CHECK(s.N > 0 && s.H > 0 && s.W > 0 && s.C > 0 && s.K > 0 && s.R > 0 && s.S > 0, op, ": x is ",
                 Shape{s.N, s.H, s.W, s.C}, " and the filter is ", s.R, "x", s.S, " with ", s.K,
                 " output channels; no extent may be 0");
  ESPALIER_CHECK(
      s.H <= kLargest && s.W <= kLargest && s.H + p.top + p.bottom >= s.R && s.W + p.left + p.right >= s.S,
      op, ": a ", s.R, "x", s.S, " filter does not fit an image of ", s.H, "x", s.W, " with padding ", p.top,
      ",", p.left, ",", p.bottom, ",", p.right);
}

void check_epilogue(const Convolution& op, std::span<const Meta> in, const Shape& y) {
  if (op.has_bias)
    ESPALIER_CHECK(in[2].shape == Shape{y.back()}, op.name(), ": bias is ", in[2].shape, ", expected ",
                   Shape{y.back()});
  if (op.has_residual)
    ESPALIER_CHECK(in.back().shape == y, op.name(), ": residual is ", in.back().shape, ", the output is ", y,
                   "; both must be equal");
}

Tensor before_activation(const Convolution& op, const Ctx& c, const Tensor& dy) {
  if (op.act.is_none()) return dy;
  // check_fused() saw to it that the output tells on which piece of the activation the input was.
  Tensor g = like(dy);
  with_type(g.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::activation_backward(g.device(), g.elements(), op.act, c.out[0].as<T>(), dy.as<T>(), g.as<T>());
  });
  return g;
}

void epilogue_gradients(const Convolution& op, const Ctx& c, const Tensor& g, Tensors& dx) {
  if (op.has_bias && c.needs_grad[2]) {
    dx[2] = Tensor(c.in[2].shape(), g.device());
    with_type(g.dtype(), [&]<class T>(std::type_identity<T>) {
      kernels::sum_rows(g.device(), g.elements() / g.channels(), g.channels(), g.as<T>(), dx[2].f32());
    });
  }
  if (op.has_residual && c.needs_grad.back()) dx.back() = g;
}

void tie_epilogue(const Convolution& op, ChannelTies& t) {
  if (op.has_bias) t.same(t.in(2), t.out());
  if (op.has_residual) t.same(t.in(op.has_bias ? 3 : 2), t.out());
}

void write_onnx(const Convolution& op, OnnxNodes& nodes) {
  const Tensor& w = nodes.parameter(1);
  const bool depthwise = w.shape().axes() == 3;
  const auto attributes = onnx_words::window(w.shape()[depthwise ? 0 : 1], w.shape()[depthwise ? 1 : 2],
                                             op.stride, op.pad, depthwise ? w.channels() : 0);
  std::vector<OnnxNodes::Name> in = {nodes.in(0), nodes.constant("w", onnx_words::filters(w, depthwise))};
  if (op.has_bias) in.push_back(nodes.constant("bias", nodes.parameter(2)));
  OnnxNodes::Name y = nodes.node("Conv", in, attributes);
  if (op.has_residual) y = nodes.node("Add", {y, nodes.in(nodes.inputs() - 1)});
  nodes.out(onnx_words::activated(nodes, y, op.act));
}

}  // namespace espalier
