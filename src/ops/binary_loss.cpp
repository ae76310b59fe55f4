#include "kernels/binary_loss.h"

#include "base/error.h"
#include "ops/channel_ties.h"
#include "ops/ops.h"

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

  /// How many places count. Throws Error for a label that is neither 0, 1 nor the ignored one.
  int64_t counted(const Ctx& c) const {
    const Tensor labels = c.in[1].to(Device::kCpu);
    int64_t count = 0;
    for (int64_t i = 0; i < labels.elements(); ++i) {
      const int label = labels.s32()[i];
      if (label == ignored_label) continue;
      ESPALIER_CHECK(label == 0 || label == 1, name(), ": the label at ", i, " is ", label,
                     "; it must be 0 or 1");
      ++count;
    }
    return count;
  }
};

/// See sigmoid_cross_entropy() in ops.h.
struct SigmoidCrossEntropy final : BinaryLoss {
  const char* name() const override { return "sigmoid_cross_entropy"; }

  void forward(Ctx& c) const override {
    const int64_t count = counted(c);
    const Tensor losses(c.in[1].shape(), c.in[0].device());
    kernels::sigmoid_cross_entropy_forward(losses.device(), problem(c), losses.f32());
    double sum = 0;
    for (const float loss : losses.to_vector()) sum += loss;
    const double factor = count > 0 ? 1 / static_cast<double>(count) : 0.0;
    c.out[0].set(std::vector<float>{static_cast<float>(sum * factor)});
    c.saved = {Tensor::full({1}, static_cast<float>(factor))};
  }

  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    const Tensor dx(c.in[0].shape(), c.in[0].device());
    kernels::sigmoid_cross_entropy_backward(dx.device(), problem(c), c.saved[0].item() * dy[0].item(),
                                            dx.f32());
    return {dx, Tensor()};
  }
};

/// See dice_loss() in ops.h. Saved: sum of p y and sum of p + sum of y + eps, per image.
struct DiceLoss final : BinaryLoss {
  static constexpr double kEps = 1e-5;  // the reference's

  const char* name() const override { return "dice_loss"; }

  void forward(Ctx& c) const override {
    counted(c);
    const kernels::BinaryProblem p = problem(c);
    const int N = static_cast<int>(p.N);
    const int pieces = static_cast<int>((p.M + kernels::kDicePiece - 1) / kernels::kDicePiece);
    const Tensor sums({N, pieces, 3}, c.in[0].device());
    kernels::dice_sums(sums.device(), p, sums.f32());
    const std::vector<float> parts = sums.to_vector();
    std::vector<float> saved;
    double loss = 0;
    for (int n = 0; n < N; ++n) {
      double sum[3] = {};
      for (int i = 0; i < pieces * 3; ++i) sum[i % 3] += parts[size_t(n) * pieces * 3 + i];
      const double both = sum[0], all = sum[1] + sum[2] + kEps;
      loss += (1 - 2 * both / all) / N;
      saved.push_back(static_cast<float>(both));
      saved.push_back(static_cast<float>(all));
    }
    c.out[0].set(std::vector<float>{static_cast<float>(loss)});
    c.saved = {Tensor::from(saved, {N, 2})};
  }

  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    const int N = c.in[0].shape()[0];
    const float g = dy[0].item() / static_cast<float>(N);
    std::vector<float> slopes;
    for (int n = 0; n < N; ++n) {
      const float both = c.saved[0].f32()[2 * n], all = c.saved[0].f32()[2 * n + 1];
      slopes.push_back(-2 * g / all);
      slopes.push_back(2 * g * both / (all * all));
    }
    const Tensor dx(c.in[0].shape(), c.in[0].device());
    const Tensor there = Tensor::from(slopes, {N, 2}, dx.device());
    kernels::dice_backward(dx.device(), problem(c), there.f32(), dx.f32());
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
