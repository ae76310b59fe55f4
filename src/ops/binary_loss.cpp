#include "kernels/binary_loss.h"

#include "base/error.h"
#include "kernels/loss_mean.h"
#include "ops/channel_ties.h"
#include "ops/ops.h"
#include "ops/targets.h"

namespace espalier {

namespace {

/// What both losses share. In: logits [N,...,1], labels s32 [N,...]. Out: a scalar.
struct BinaryLoss : Op {
  int ignored_label = -1;

  Metas infer(std::span<const Meta> in) const override {
    check_count(*this, in, 2);
    const Shape& x = in[0].shape;
    std::vector<int> places = x.vector();
    ESPALIER_CHECK(in[0].dtype == DType::kF32 && places.size() >= 2 && places.back() == 1 && x.elements() > 0,
                   name(), ": logits are ", in[0], "; they must be f32 [N,...,1], none of them 0");
    places.pop_back();
    ESPALIER_CHECK(in[1].dtype == DType::kS32 && in[1].shape == Shape(places), name(), ": labels are ", in[1],
                   ", expected s32", Shape(places), " for logits ", x);
    return {{Shape{}, DType::kF32}};
  }
  void channels(ChannelTies& t) const override { t.fixed(t.in(0)); }
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  void attributes(AttributeVisitor& v) override { v.visit("ignored_label", ignored_label); }

 protected:
  kernels::BinaryProblem problem(const Ctx& c) const {
    const int N = c.in[0].shape()[0];
    return {N, c.in[0].elements() / N, c.in[0].f32(), c.in[1].s32(), ignored_label};
  }

  void check_places(const Ctx& c) const { check_labels(name(), c.in[1], 2, ignored_label); }
};

/// See sigmoid_cross_entropy() in ops.h.
struct SigmoidCrossEntropy final : BinaryLoss {
  const char* name() const override { return "sigmoid_cross_entropy"; }

  void forward(Ctx& c) const override {
    check_places(c);
    const Tensor losses(c.in[1].shape(), c.in[0].device()), factor({1}, c.in[0].device());
    kernels::sigmoid_cross_entropy_forward(losses.device(), problem(c), losses.f32());
    kernels::loss_mean(losses.device(), losses.elements(), losses.f32(),
                       {.labels = c.in[1].s32(), .ignored_label = ignored_label}, 0, c.out[0].f32(),
                       factor.f32());
    c.saved = {factor};
  }

  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    const Tensor dx(c.in[0].shape(), c.in[0].device());
    kernels::sigmoid_cross_entropy_backward(dx.device(), problem(c), {dy[0].f32(), c.saved[0].f32()},
                                            dx.f32());
    return {dx, Tensor()};
  }
};

/// See dice_loss() in ops.h. Saved: the slopes of kernels::dice_mean().
struct DiceLoss final : BinaryLoss {
  static constexpr double kEps = 1e-5;  // the reference's

  const char* name() const override { return "dice_loss"; }

  void forward(Ctx& c) const override {
    check_places(c);
    const kernels::BinaryProblem p = problem(c);
    const int N = static_cast<int>(p.N);
    const int pieces = static_cast<int>((p.M + kernels::kDicePiece - 1) / kernels::kDicePiece);
    const Tensor sums({N, pieces, 3}, c.in[0].device()), slopes({N, 3}, c.in[0].device());
    kernels::dice_sums(sums.device(), p, sums.f32());
    kernels::dice_mean(sums.device(), p, sums.f32(), kEps, c.out[0].f32(), slopes.f32());
    c.saved = {slopes};
  }

  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    const Tensor dx(c.in[0].shape(), c.in[0].device());
    kernels::dice_backward(dx.device(), problem(c), c.saved[0].f32(), dy[0].f32(), dx.f32());
    return {dx, Tensor()};
  }
};

template <class Loss>
Tensor apply_loss(const Tensor& logits, const Tensor& labels, int ignored_label) {
  auto op = std::make_shared<Loss>();
  op->ignored_label = ignored_label;
  return apply1(op, {logits, labels});
}

}  // namespace

std::shared_ptr<Op> make_sigmoid_cross_entropy() { return std::make_shared<SigmoidCrossEntropy>(); }
std::shared_ptr<Op> make_dice_loss() { return std::make_shared<DiceLoss>(); }

Tensor sigmoid_cross_entropy(const Tensor& logits, const Tensor& labels, int ignored_label) {
  return apply_loss<SigmoidCrossEntropy>(logits, labels, ignored_label);
}
Tensor dice_loss(const Tensor& logits, const Tensor& labels, int ignored_label) {
  return apply_loss<DiceLoss>(logits, labels, ignored_label);
}

}  // namespace espalier
