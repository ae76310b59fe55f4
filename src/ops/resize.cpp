#include "kernels/resize.h"

#include "base/error.h"
#include "ops/channel_ties.h"
#include "ops/ops.h"

namespace espalier {

namespace {

using kernels::Sampling;

/// See resize_nearest() and resize_bilinear() in ops.h. In: x [N,H,W,C], [like [N,P,Q,anything] if height is
/// 0]. Out: [N,P,Q,C].
struct Resize final : Op {
  int height = 0, width = 0;  ///< 0: those of `like`
  bool bilinear = false, align_corners = false;

  const char* name() const override { return "resize"; }

  Metas infer(std::span<const Meta> in) const override {
    check_count(*this, in, height ? 1 : 2);
    const Shape& x = in[0].shape;
    ESPALIER_CHECK(in[0].dtype == DType::kF32 && x.axes() == 4 && x[1] > 0 && x[2] > 0, "resize: x is ",
                   in[0], "; it must be f32 [N,H,W,C] with at least one pixel");
    if (!height)
      ESPALIER_CHECK(in[1].shape.axes() == 4 && in[1].shape[0] == x[0], "resize: like is ", in[1].shape,
                     ", x is ", x, "; both need 4 axes and the same N");
    const int P = height ? height : in[1].shape[1], Q = height ? width : in[1].shape[2];
    ESPALIER_CHECK(P > 0 && Q > 0, "resize: the output would have ", P, "x", Q, " pixels");
    return {{{x[0], P, Q, x[3]}, in[0].dtype}};
  }
  void forward(Ctx& c) const override {
    kernels::resize_forward(c.device(), shape_of(c.in[0].shape(), c.out[0].shape()), c.in[0].f32(),
                            c.out[0].f32());
  }
  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    Tensors dx(c.in.size());
    dx[0] = Tensor(c.in[0].shape(), dy[0].device());
    kernels::resize_backward(dy[0].device(), shape_of(c.in[0].shape(), dy[0].shape()), dy[0].f32(),
                             dx[0].f32());
    // `like` lends its extents only.
    if (dx.size() > 1 && c.needs_grad[1]) dx[1] = Tensor::zeros(c.in[1].shape(), dy[0].device());
    return dx;
  }
  void channels(ChannelTies& t) const override { t.same(t.in(0), t.out()); }
  void attributes(AttributeVisitor& v) override {
    v.visit("height", height);
    v.visit("width", width);
    v.visit("bilinear", bilinear);
    v.visit("align_corners", align_corners);
  }
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  Keep keep() const override { return {.inputs = 0}; }

 private:
  kernels::ResizeShape shape_of(const Shape& x, const Shape& y) const {
    const Sampling sampling = !bilinear       ? Sampling::kNearest
                              : align_corners ? Sampling::kAlignCorners
                                              : Sampling::kHalfPixel;
    return {x[0], x[1], x[2], x[3], y[1], y[2], sampling};
  }
};

Tensor resize(const Tensors& in, int height, int width, bool bilinear, bool align_corners) {
  auto op = std::make_shared<Resize>();
  op->height = height;
  op->width = width;
  op->bilinear = bilinear;
  op->align_corners = align_corners;
  return apply1(op, in);
}

}  // namespace

std::shared_ptr<Op> make_resize() { return std::make_shared<Resize>(); }

Tensor resize_nearest(const Tensor& x, int height, int width) {
  ESPALIER_CHECK(height > 0 && width > 0, "resize: the output would have ", height, "x", width, " pixels");
  return resize({x}, height, width, false, false);
}
Tensor resize_bilinear(const Tensor& x, int height, int width, bool align_corners) {
  ESPALIER_CHECK(height > 0 && width > 0, "resize: the output would have ", height, "x", width, " pixels");
  return resize({x}, height, width, true, align_corners);
}
Tensor resize_nearest_like(const Tensor& x, const Tensor& like) {
  return resize({x, like}, 0, 0, false, false);
}
Tensor resize_bilinear_like(const Tensor& x, const Tensor& like, bool align_corners) {
  return resize({x, like}, 0, 0, true, align_corners);
}

}  // namespace espalier
