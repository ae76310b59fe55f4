#include "ops/resize.h"

#include "base/error.h"
#include "ops/channel_ties.h"
#include "ops/onnx_nodes.h"
#include "ops/ops.h"
#include "ops/quantized_resample.h"
#include "ops/storage.h"

namespace espalier {

using kernels::Sampling;

Shape ResizeOptions::output(const Op& op, std::span<const Meta> in) const {
  check_count(op, in, height ? 1 : 2);
  const Shape& x = in[0].shape;
  ESPALIER_CHECK(x.axes() == 4 && x[1] > 0 && x[2] > 0, op.name(), ": x is ", in[0],
                 "; it must be [N,H,W,C] with at least one pixel");
  if (!height)
    ESPALIER_CHECK(in[1].shape.axes() == 4 && in[1].shape[0] == x[0], op.name(), ": like is ", in[1].shape,
                   ", x is ", x, "; both need 4 axes and the same N");
  const int P = height ? height : in[1].shape[1], Q = height ? width : in[1].shape[2];
  ESPALIER_CHECK(P > 0 && Q > 0, op.name(), ": the output would have ", P, "x", Q, " pixels");
  return {x[0], P, Q, x[3]};
}

kernels::ResizeShape ResizeOptions::problem(const Shape& x, const Shape& y) const {
  const Sampling sampling = !bilinear       ? Sampling::kNearest
                            : align_corners ? Sampling::kAlignCorners
                                            : Sampling::kHalfPixel;
  return {x[0], x[1], x[2], x[3], y[1], y[2], sampling};
}

void ResizeOptions::visit(AttributeVisitor& v) {
  v.visit("height", height);
  v.visit("width", width);
  v.visit("bilinear", bilinear);
  v.visit("align_corners", align_corners);
}

Metas Resize::infer(std::span<const Meta> in) const {
  const Shape y = o.output(*this, in);
  ESPALIER_CHECK(in[0].dtype == DType::kF32 || in[0].dtype == DType::kBF16, "resize: x is ", in[0],
                 "; it must be f32 or bf16");
  return {{y, in[0].dtype}};
}

void Resize::forward(Ctx& c) const {
  with_type(c.in[0].dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::resize_forward(c.device(), o.problem(c.in[0].shape(), c.out[0].shape()), c.in[0].as<T>(),
                            c.out[0].as<T>());
  });
}

Tensors Resize::backward(Ctx& c, std::span<const Tensor> dy) const {
  Tensors dx(c.in.size());
  dx[0] = Tensor(c.in[0].shape(), dy[0].device(), c.in[0].dtype());
  with_type(dx[0].dtype(), [&]<class T>(std::type_identity<T>) {
    kernels::resize_backward(dy[0].device(), o.problem(c.in[0].shape(), dy[0].shape()), dy[0].as<T>(),
                             dx[0].as<T>());
  });
  return dx;
}

void Resize::channels(ChannelTies& t) const { t.same(t.in(0), t.out()); }

std::shared_ptr<const Op> Resize::on_codes() const {
  auto op = std::make_shared<QuantizedResize>();
  op->o = o;
  return op;
}

std::shared_ptr<Op> make_resize() { return std::make_shared<Resize>(); }

namespace {

Tensor resize(const Tensors& in, const ResizeOptions& options) {
  auto op = std::make_shared<Resize>();
  op->o = options;
  return apply1(op, in);
}

void check_extents(int height, int width) {
  ESPALIER_CHECK(height > 0 && width > 0, "resize: the output would have ", height, "x", width, " pixels");
}

}  // namespace

void ResizeOptions::write_onnx(OnnxNodes& nodes) const {
  // The extents of all four axes, two of which are the input's: the number of pictures may be open.
  const Shape& y = nodes.out_meta().shape;
  const OnnxNodes::Name x = nodes.in(0), axes = nodes.integers("axes", {0});
  const OnnxNodes::Name kept = nodes.node(
      "Slice", {nodes.node("Shape", {x}), nodes.integers("first", {0}), nodes.integers("last", {2}), axes});
  const OnnxNodes::Name sizes =
      nodes.node("Concat", {kept, nodes.integers("extents", {y[1], y[2]})}, {{"axis", int64_t{0}}});
  const char* place = !bilinear ? "asymmetric" : align_corners ? "align_corners" : "half_pixel";
  const OnnxNodes::Attribute mode = {"mode", std::string(bilinear ? "linear" : "nearest")},
                             sampling = {"coordinate_transformation_mode", std::string(place)};
  std::vector<OnnxNodes::Attribute> attributes = {mode, sampling};
  if (!bilinear) attributes = {mode, sampling, {"nearest_mode", std::string("floor")}};
  onnx_words::out_like_input(nodes, nodes.node("Resize", {x, {}, {}, sizes}, attributes));
}
void Resize::to_onnx(OnnxNodes& nodes) const { o.write_onnx(nodes); }

Tensor resize_nearest(const Tensor& x, int height, int width) {
  check_extents(height, width);
  return resize({x}, {.height = height, .width = width});
}
Tensor resize_bilinear(const Tensor& x, int height, int width, bool align_corners) {
  check_extents(height, width);
  return resize({x}, {.height = height, .width = width, .bilinear = true, .align_corners = align_corners});
}
Tensor resize_nearest_like(const Tensor& x, const Tensor& like) { return resize({x, like}, {}); }
Tensor resize_bilinear_like(const Tensor& x, const Tensor& like, bool align_corners) {
  return resize({x, like}, {.bilinear = true, .align_corners = align_corners});
}

}  // namespace espalier
