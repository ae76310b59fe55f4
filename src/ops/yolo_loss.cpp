#include "kernels/yolo_loss.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/loss_mean.h"
#include "ops/channel_ties.h"
#include "ops/ops.h"
#include "ops/targets.h"

namespace espalier {

namespace {

/// See yolo_loss() in ops.h. In: head [N,H,W,A*(5+classes)], boxes [N,M,6]. Out: a scalar.
struct YoloLoss final : Op {
  std::vector<float> anchors;  ///< width, height, width, ...
  std::vector<int> mask;
  int classes = 0, downsample = 0;
  float ignore_threshold = 0.7f;
  bool label_smooth = false;

  const char* name() const override { return "yolo_loss"; }

  Metas infer(std::span<const Meta> in) const override {
    check_f32(*this, in, 2);
    const int count = static_cast<int>(anchors.size()) / 2, A = static_cast<int>(mask.size());
    ESPALIER_CHECK(classes >= 1 && downsample >= 1 && A >= 1 && count >= 1 && anchors.size() % 2 == 0,
                   "yolo_loss: ", classes, " classes, downsample ", downsample, ", ", anchors.size(),
                   " anchor extents and ", A,
                   " anchors of this head; each must be at least 1, extents in pairs");
    for (int a : mask)
      ESPALIER_CHECK(a >= 0 && a < count, "yolo_loss: the mask names anchor ", a, "; it must lie in 0 .. ",
                     count - 1);
    for (float extent : anchors)
      ESPALIER_CHECK(extent > 0 && std::isfinite(extent), "yolo_loss: an anchor's extent is ", extent,
                     "; it must be positive");
    const Shape &x = in[0].shape, &boxes = in[1].shape;
    ESPALIER_CHECK(x.axes() == 4 && x.elements() > 0 && x[3] == A * (5 + classes), "yolo_loss: the head is ",
                   x, "; it must be [N,H,W,", A * (5 + classes), "]: ", A, " anchors of 5 + ", classes,
                   " values, no extent 0");
    ESPALIER_CHECK(boxes.axes() == 3 && boxes[0] == x[0] && boxes[1] >= 1 && boxes[2] == 6,
                   "yolo_loss: the boxes are ", boxes, "; they must be [", x[0], ",M,6], M at least 1");
    return {{Shape{}, DType::kF32}};
  }

  void forward(Ctx& c) const override {
    const Tensor &x = c.in[0], &boxes = c.in[1];
    check_boxes(name(), boxes, classes);
    const Tensor matches({boxes.shape()[0], boxes.shape()[1]}, x.device(), DType::kS32);
    const Tensor factor({1}, x.device());
    c.saved = {sizes(x),
               constant(std::vector<int32_t>(mask.begin(), mask.end()), {anchors_here()}, x.device()),
               matches, factor};
    const kernels::YoloLossProblem p = problem(c);
    kernels::yolo_match(x.device(), p, matches.s32());
    const Tensor losses({p.N, p.H, p.W, p.A}, x.device());
    kernels::yolo_loss_forward(x.device(), p, matches.s32(), losses.f32());
    kernels::loss_mean(x.device(), losses.elements(), losses.f32(), {}, p.N, c.out[0].f32(), factor.f32());
  }

  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    ESPALIER_CHECK(!c.needs_grad[1], "yolo_loss: the boxes have no gradient");
    const Tensor dx(c.in[0].shape(), c.in[0].device());
    kernels::yolo_loss_backward(dx.device(), problem(c), c.saved[2].s32(), {dy[0].f32(), c.saved[3].f32()},
                                dx.f32());
    return {dx, Tensor()};
  }

  void channels(ChannelTies& t) const override { t.fixed(t.in(0)); }
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  void attributes(AttributeVisitor& v) override {
    v.visit("anchors", anchors);
    v.visit("mask", mask);
    v.visit("classes", classes);
    v.visit("downsample", downsample);
    v.visit("ignore_threshold", ignore_threshold);
    v.visit("label_smooth", label_smooth);
  }

 private:
  int anchors_here() const { return static_cast<int>(mask.size()); }

  /// The anchors as shares of the network's picture.
  Tensor sizes(const Tensor& x) const {
    const float width = static_cast<float>(downsample * x.shape()[2]),
                height = static_cast<float>(downsample * x.shape()[1]);
    std::vector<float> shares(anchors);
    for (size_t i = 0; i < shares.size(); i += 2) shares[i] /= width, shares[i + 1] /= height;
    return constant(shares, {static_cast<int>(shares.size()) / 2, 2}, x.device());
  }

  kernels::YoloLossProblem problem(const Ctx& c) const {
    const Shape& x = c.in[0].shape();
    const float smooth = label_smooth ? std::min(1.0f / static_cast<float>(classes), 1.0f / 40.0f) : 0.0f;
    return {.N = x[0],
            .H = x[1],
            .W = x[2],
            .M = c.in[1].shape()[1],
            .A = anchors_here(),
            .classes = classes,
            .anchors = static_cast<int>(anchors.size()) / 2,
            .head = c.in[0].f32(),
            .boxes = c.in[1].f32(),
            .sizes = c.saved[0].f32(),
            .mask = c.saved[1].s32(),
            .ignore_threshold = ignore_threshold,
            .positive = 1 - smooth,
            .negative = smooth};
  }
};

}  // namespace

std::shared_ptr<Op> make_yolo_loss() { return std::make_shared<YoloLoss>(); }

Tensor yolo_loss(const Tensor& head, const Tensor& boxes, const YoloLossOptions& o) {
  auto op = std::make_shared<YoloLoss>();
  for (const auto& [width, height] : o.anchors) op->anchors.insert(op->anchors.end(), {width, height});
  op->mask = o.mask;
  op->classes = o.classes;
  op->downsample = o.downsample;
  op->ignore_threshold = o.ignore_threshold;
  op->label_smooth = o.label_smooth;
  return apply1(op, {head, boxes});
}

}  // namespace espalier
