#include "kernels/softmax_cross_entropy.h"

#include "base/error.h"
#include "kernels/loss_mean.h"
#include "ops/channel_ties.h"
#include "ops/ops.h"
#include "ops/targets.h"

namespace espalier {

namespace {

/// See softmax_cross_entropy() in ops.h. In: logits [...,K], labels s32 [...]. Out: a scalar.
struct SoftmaxCrossEntropy final : Op {
  CrossEntropyOptions o;

  const char* name() const override { return "softmax_cross_entropy"; }

  Metas infer(std::span<const Meta> in) const override {
    check_count(*this, in, 2);
    const Shape &x = in[0].shape, &y = in[1].shape;
    std::vector<int> rows = x.vector();
    ESPALIER_CHECK(in[0].dtype == DType::kF32 && !rows.empty() && x.elements() > 0,
                   "softmax_cross_entropy: logits are ", in[0], "; they must be f32 [...,K], none of them 0");
    rows.pop_back();
    ESPALIER_CHECK(in[1].dtype == DType::kS32 && y == Shape(rows), "softmax_cross_entropy: labels are ",
                   in[1], ", expected s32", Shape(rows), " for logits ", x);
    ESPALIER_CHECK(o.class_weights.empty() || static_cast<int>(o.class_weights.size()) == x.back(),
                   "softmax_cross_entropy: ", o.class_weights.size(), " class weights for ", x.back(),
                   " classes");
    ESPALIER_CHECK(o.label_smoothing >= 0 && o.label_smoothing < 1,
                   "softmax_cross_entropy: label smoothing is ", o.label_smoothing,
                   "; it must lie in [0, 1)");
    return {{Shape{}, DType::kF32}};
  }

  void forward(Ctx& c) const override {
    const Tensor& x = c.in[0];
    check_labels(name(), c.in[1], x.channels(), o.ignored_label);
    const int64_t rows = c.in[1].elements();
    const Tensor weights =
        o.class_weights.empty() ? Tensor() : constant(o.class_weights, {x.channels()}, x.device());
    const Tensor losses({static_cast<int>(rows)}, x.device()), factor({1}, x.device());
    kernels::softmax_cross_entropy_forward(x.device(), problem(c, weights), losses.f32());
    kernels::loss_mean(x.device(), rows, losses.f32(),
                       {.labels = c.in[1].s32(),
                        .ignored_label = o.ignored_label,
                        .weights = weights.defined() && !o.plain_mean ? weights.f32() : nullptr},
                       double{o.denominator_eps} * static_cast<double>(rows), c.out[0].f32(), factor.f32());
    c.saved = {factor};
    if (weights.defined()) c.saved.push_back(weights);
  }

  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    const Tensor dx(c.in[0].shape(), c.in[0].device());
    kernels::softmax_cross_entropy_backward(dx.device(),
                                            problem(c, c.saved.size() > 1 ? c.saved[1] : Tensor()),
                                            {dy[0].f32(), c.saved[0].f32()}, dx.f32());
    return {dx, Tensor()};
  }

  void channels(ChannelTies& t) const override { t.fixed(t.in(0)); }
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  void attributes(AttributeVisitor& v) override {
    v.visit("label_smoothing", o.label_smoothing);
    v.visit("class_weights", o.class_weights);
    v.visit("ignored_label", o.ignored_label);
    v.visit("denominator_eps", o.denominator_eps);
    v.visit("plain_mean", o.plain_mean);
  }

 private:
  kernels::CrossEntropyProblem problem(const Ctx& c, const Tensor& weights) const {
    return {c.in[1].elements(),
            c.in[0].channels(),
            c.in[0].f32(),
            c.in[1].s32(),
            o.ignored_label,
            o.label_smoothing,
            weights.defined() ? weights.f32() : nullptr};
  }
};

}  // namespace

std::shared_ptr<Op> make_softmax_cross_entropy() { return std::make_shared<SoftmaxCrossEntropy>(); }

Tensor softmax_cross_entropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options) {
  auto op = std::make_shared<SoftmaxCrossEntropy>();
  op->o = options;
  return apply1(op, {logits, labels});
}

}  // namespace espalier
