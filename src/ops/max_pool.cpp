#include "ops/max_pool.h"

#include "base/error.h"
#include "kernels/max_pool.h"
#include "ops/channel_ties.h"
#include "ops/convolution.h"
#include "ops/onnx_nodes.h"
#include "ops/quantized_resample.h"
#include "ops/storage.h"

namespace espalier {

kernels::ConvShape pool_shape(const char* op, const PoolOptions& o, const Shape& x) {
  ESPALIER_CHECK(x.axes() == 4, op, ": x is ", x, "; it must be [N,H,W,C]");
  const Padding& p = o.pad;
  const kernels::ConvShape s = {x[0], x[1], x[2], x[3], x[3], o.kernel, o.kernel, o.stride, o.pad};
  check_window(op, s);
  ESPALIER_CHECK(p.top < o.kernel && p.left < o.kernel && p.bottom < o.kernel && p.right < o.kernel, op,
                 ": padding must lie in 0 .. ", o.kernel - 1, ", or a window would hold no pixel");
  return s;
}

void visit_pool(AttributeVisitor& v, PoolOptions& o) {
  v.visit("kernel", o.kernel);
  v.visit("stride", o.stride);
  visit_padding(v, o.pad);
}

Metas MaxPool::infer(std::span<const Meta> in) const {
  check_activations(*this, in, 1);
  const kernels::ConvShape s = pool_shape(name(), o, in[0].shape);
  return {{{s.N, s.P(), s.Q(), s.C}, in[0].dtype}};
}

void MaxPool::forward(Ctx& c) const {
  with_type(c.in[0].dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::max_pool_forward(c.device(), pool_shape(name(), o, c.in[0].shape()), c.in[0].as<T>(),
                              c.out[0].as<T>());
  });
}

Tensors MaxPool::backward(Ctx& c, std::span<const Tensor> dy) const {
  const Tensor dx = like(c.in[0]);
  with_type(dx.dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::max_pool_backward(dx.device(), pool_shape(name(), o, dx.shape()), c.in[0].as<T>(), dy[0].as<T>(),
                               dx.as<T>());
  });
  return {dx};
}

void MaxPool::channels(ChannelTies& t) const { t.same(t.in(0), t.out()); }

std::shared_ptr<const Op> MaxPool::on_codes() const {
  auto op = std::make_shared<QuantizedMaxPool>();
  op->o = o;
  return op;
}

void write_onnx(const PoolOptions& o, OnnxNodes& nodes) {
  onnx_words::out_like_input(
      nodes, nodes.node("MaxPool", {nodes.in(0)}, onnx_words::window(o.kernel, o.kernel, o.stride, o.pad)));
}
void MaxPool::to_onnx(OnnxNodes& nodes) const { write_onnx(o, nodes); }

std::shared_ptr<Op> make_max_pool() { return std::make_shared<MaxPool>(); }

Tensor max_pool(const Tensor& x, const PoolOptions& options) {
  auto op = std::make_shared<MaxPool>();
  op->o = options;
  return apply1(op, {x});
}

}  // namespace espalier
