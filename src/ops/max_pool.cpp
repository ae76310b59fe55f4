#include "kernels/max_pool.h"

#include "base/error.h"
#include "ops/channel_ties.h"
#include "ops/ops.h"

namespace espalier {

namespace {

/// See max_pool() in ops.h. In: x [N,H,W,C]. Out: [N,P,Q,C].
struct MaxPool final : Op {
  PoolOptions o;

  const char* name() const override { return "max_pool"; }

  Metas infer(std::span<const Meta> in) const override {
    check_f32(*this, in, 1);
    const Shape& x = in[0].shape;
    ESPALIER_CHECK(x.axes() == 4, "max_pool: x is ", x, "; it must be [N,H,W,C]");
    const Padding& p = o.pad;
    ESPALIER_CHECK(o.kernel >= 1 && o.stride >= 1, "max_pool: kernel ", o.kernel, " and stride ", o.stride,
                   " must be at least 1");
    ESPALIER_CHECK(p.top >= 0 && p.left >= 0 && p.bottom >= 0 && p.right >= 0 && p.top < o.kernel &&
                       p.left < o.kernel && p.bottom < o.kernel && p.right < o.kernel,
                   "max_pool: padding must lie in 0 .. ", o.kernel - 1, ", or a window would hold no pixel");
    ESPALIER_CHECK(x[1] + p.top + p.bottom >= o.kernel && x[2] + p.left + p.right >= o.kernel,
                   "max_pool: a window of ", o.kernel, " does not fit an image of ", x[1], "x", x[2]);
    const auto s = shape_of(x);
    return {{{s.N, s.P(), s.Q(), s.C}, in[0].dtype}};
  }
  void forward(Ctx& c) const override {
    kernels::max_pool_forward(c.device(), shape_of(c.in[0].shape()), c.in[0].f32(), c.out[0].f32());
  }
  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    const Tensor dx(c.in[0].shape(), dy[0].device());
    kernels::max_pool_backward(dx.device(), shape_of(dx.shape()), c.in[0].f32(), dy[0].f32(), dx.f32());
    return {dx};
  }
  void channels(ChannelTies& t) const override { t.same(t.in(0), t.out()); }
  void attributes(AttributeVisitor& v) override {
    v.visit("kernel", o.kernel);
    v.visit("stride", o.stride);
    visit_padding(v, o.pad);
  }
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }

 private:
  kernels::ConvShape shape_of(const Shape& x) const {
    return {x[0], x[1], x[2], x[3], x[3], o.kernel, o.kernel, o.stride, o.pad};
  }
};

}  // namespace

std::shared_ptr<Op> make_max_pool() { return std::make_shared<MaxPool>(); }

Tensor max_pool(const Tensor& x, const PoolOptions& options) {
  auto op = std::make_shared<MaxPool>();
  op->o = options;
  return apply1(op, {x});
}

}  // namespace espalier
