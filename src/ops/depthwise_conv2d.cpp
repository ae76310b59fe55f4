#include "ops/conv2d.h"

#include "base/error.h"
#include "kernels/depthwise.h"
#include "kernels/normed_conv.h"
#include "ops/channel_ties.h"
#include "ops/convolution.h"
#include "ops/ops.h"
#include "ops/storage.h"

namespace espalier {

namespace {

kernels::ConvShape shape_of(const DepthwiseConv2d& op, const Shape& x, const Shape& w) {
  return {x[0], x[1], x[2], x[3], x[3], w[0], w[1], op.stride, op.pad};
}

}  // namespace

Metas DepthwiseConv2d::infer(std::span<const Meta> in) const {
  check_inputs(*this, in);
  const Shape &x = in[0].shape, &w = in[1].shape;
  ESPALIER_CHECK(x.axes() == 4 && w.axes() == 3, "depthwise_conv2d: x is ", x, " and w is ", w,
                 "; expected 4 axes, x [N,H,W,C], and 3 axes, w [R,S,C]");
  ESPALIER_CHECK(x[3] == w[2], "depthwise_conv2d: x has ", x[3], " channels but w has ", w[2], " (x ", x,
                 ", w ", w, "); one filter a channel is needed");
  const auto s = shape_of(*this, x, w);
  check_fused(*this);
  check_window(name(), s);
  const Shape y{s.N, s.P(), s.Q(), s.C};
  check_epilogue(*this, in, y);
  return {{y, in[0].dtype}};
}

void DepthwiseConv2d::forward(Ctx& c) const {
  with_type(c.in[0].dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::depthwise_forward(c.device(), shape_of(*this, c.in[0].shape(), c.in[1].shape()), c.in[0].as<T>(),
                               c.in[1].f32(), epilogue_of<T>(*this, c.in), c.out[0].as<T>());
  });
}

Tensors DepthwiseConv2d::backward(Ctx& c, std::span<const Tensor> dy) const {
  const auto s = shape_of(*this, c.in[0].shape(), c.in[1].shape());
  const Tensor g = before_activation(*this, c, dy[0]);
  Tensors dx(c.in.size());
  if (c.needs_grad[0]) dx[0] = like(c.in[0]);
  if (c.needs_grad[1]) dx[1] = Tensor(c.in[1].shape(), g.device());
  with_type(g.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::normed_depthwise_backward<T>(g.device(), s, c.in[0].as<T>(), {}, c.in[1].f32(), {.g = g.as<T>()},
                                          {.dx = data_or_null<T>(dx[0]), .dw = data_or_null<float>(dx[1])});
  });
  epilogue_gradients(*this, c, g, dx);
  return dx;
}

void DepthwiseConv2d::channels(ChannelTies& t) const {
  t.same(t.in(0), t.in(1));
  t.same(t.in(0), t.out());
  tie_epilogue(*this, t);
}

int64_t DepthwiseConv2d::macs(std::span<const Meta> in, std::span<const Meta> out) const {
  return out[0].shape.elements() * in[1].shape[0] * in[1].shape[1];
}

Keep DepthwiseConv2d::keep() const { return {.inputs = 3, .outputs = act.is_none() ? 0u : 1u}; }

void DepthwiseConv2d::to_onnx(OnnxNodes& nodes) const { write_onnx(*this, nodes); }

std::shared_ptr<Op> make_depthwise_conv2d() { return std::make_shared<DepthwiseConv2d>(); }

Tensor depthwise_conv2d(const Tensor& x, const Tensor& w, const ConvOptions& o) {
  return apply_convolution<DepthwiseConv2d>(x, w, o);
}

}  // namespace espalier
