#include "ops/conv2d.h"

#include "base/error.h"
#include "kernels/normed_conv.h"
#include "ops/channel_ties.h"
#include "ops/convolution.h"
#include "ops/ops.h"
#include "ops/storage.h"

namespace espalier {

namespace {

kernels::ConvShape shape_of(const Conv2d& op, const Shape& x, const Shape& w) {
  return {x[0], x[1], x[2], x[3], w[0], w[1], w[2], op.stride, op.pad};
}

}  // namespace

Metas Conv2d::infer(std::span<const Meta> in) const {
  check_inputs(*this, in);
  const Shape &x = in[0].shape, &w = in[1].shape;
  ESPALIER_CHECK(x.axes() == 4 && w.axes() == 4, "conv2d: x is ", x, " and w is ", w,
                 "; both need 4 axes, x [N,H,W,C] and w [K,R,S,C]");
  ESPALIER_CHECK(x[3] == w[3], "conv2d: x has ", x[3], " channels but w expects ", w[3], " (x ", x, ", w ", w,
                 ")");
  const auto s = shape_of(*this, x, w);
  check_fused(*this);
  check_window(name(), s);
  const Shape y{s.N, s.P(), s.Q(), s.K};
  check_epilogue(*this, in, y);
  return {{y, in[0].dtype}};
}

void Conv2d::forward(Ctx& c) const {
  with_type(c.in[0].dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::conv2d_forward(c.device(), shape_of(*this, c.in[0].shape(), c.in[1].shape()), c.in[0].as<T>(),
                            c.in[1].f32(), epilogue_of<T>(*this, c.in), c.out[0].as<T>());
  });
}

Tensors Conv2d::backward(Ctx& c, std::span<const Tensor> dy) const {
  const auto s = shape_of(*this, c.in[0].shape(), c.in[1].shape());
  const Tensor g = before_activation(*this, c, dy[0]);
  Tensors dx(c.in.size());
  if (c.needs_grad[0]) dx[0] = like(c.in[0]);
  if (c.needs_grad[1]) dx[1] = Tensor(c.in[1].shape(), g.device());
  with_type(g.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::normed_conv2d_backward<T>(g.device(), s, c.in[0].as<T>(), {}, c.in[1].f32(), {.g = g.as<T>()},
                                       {.dx = data_or_null<T>(dx[0]), .dw = data_or_null<float>(dx[1])});
  });
  epilogue_gradients(*this, c, g, dx);
  return dx;
}

void Conv2d::channels(ChannelTies& t) const {
  t.same(t.in(0), t.in(1, 3));
  t.same(t.in(1, 0), t.out());
  tie_epilogue(*this, t);
}

int64_t Conv2d::macs(std::span<const Meta> in, std::span<const Meta> out) const {
  return out[0].shape.elements() * (in[1].shape.elements() / in[1].shape[0]);
}

Keep Conv2d::keep() const { return {.inputs = 3, .outputs = act.is_none() ? 0u : 1u}; }

void Conv2d::to_onnx(OnnxNodes& nodes) const { write_onnx(*this, nodes); }

std::shared_ptr<Op> make_conv2d() { return std::make_shared<Conv2d>(); }

Tensor conv2d(const Tensor& x, const Tensor& w, const ConvOptions& o) {
  return apply_convolution<Conv2d>(x, w, o);
}

}  // namespace espalier
