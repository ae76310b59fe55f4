#include "kernels/distillation.h"

#include "base/error.h"
#include "kernels/loss_mean.h"
#include "ops/channel_ties.h"
#include "ops/ops.h"

namespace espalier {

namespace {

/// Inputs: outputs of the student, the teacher's, [more]. Out: a scalar. The teacher has no gradient.
struct DistillationOp : Op {
  float temperature = 4;

  void channels(ChannelTies& t) const override { t.fixed(t.in(0)); }
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  void attributes(AttributeVisitor& v) override { v.visit("temperature", temperature); }

 protected:
  void check_pair(std::span<const Meta> in) const {
    const Shape& x = in[0].shape;
    ESPALIER_CHECK(in[0].dtype == DType::kF32 && x.axes() > 0 && x.elements() > 0, name(),
                   ": the outputs are ", in[0], "; they must be f32 [...,K], none of them 0");
    ESPALIER_CHECK(in[1] == in[0], name(), ": the outputs are ", in[0], " and the teacher's ", in[1],
                   "; they must be alike");
    ESPALIER_CHECK(temperature > 0, name(), ": the temperature is ", temperature, "; it must be positive");
  }
  void check_gradient(const Ctx& c) const {
    ESPALIER_CHECK(!c.needs_grad[1], name(), ": the teacher's outputs have no gradient");
  }
};

/// See distillation_loss() in ops.h. In: logits [...,K], the teacher's, labels s32 [...].
struct DistillationLoss final : DistillationOp {
  int ignored_label = -1;

  const char* name() const override { return "distillation_loss"; }

  Metas infer(std::span<const Meta> in) const override {
    check_count(*this, in, 3);
    check_pair(in);
    std::vector<int> rows = in[0].shape.vector();
    rows.pop_back();
    ESPALIER_CHECK(in[2].dtype == DType::kS32 && in[2].shape == Shape(rows), name(), ": labels are ", in[2],
                   ", expected s32", Shape(rows), " for logits ", in[0].shape);
    return {{Shape{}, DType::kF32}};
  }

  void forward(Ctx& c) const override {
    const Tensor losses(c.in[2].shape(), c.in[0].device()), factor({1}, c.in[0].device());
    kernels::distillation_forward(losses.device(), problem(c), losses.f32());
    kernels::loss_mean(losses.device(), losses.elements(), losses.f32(),
                       {.labels = c.in[2].s32(), .ignored_label = ignored_label}, 0, c.out[0].f32(),
                       factor.f32());
    c.saved = {factor};
  }

  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    check_gradient(c);
    const Tensor dx(c.in[0].shape(), c.in[0].device());
    kernels::distillation_backward(dx.device(), problem(c), {dy[0].f32(), c.saved[0].f32()}, dx.f32());
    return {dx, Tensor(), Tensor()};
  }

  void attributes(AttributeVisitor& v) override {
    DistillationOp::attributes(v);
    v.visit("ignored_label", ignored_label);
  }

 private:
  kernels::DistillationProblem problem(const Ctx& c) const {
    return {c.in[2].elements(), c.in[0].channels(), c.in[0].f32(), c.in[1].f32(),
            c.in[2].s32(),      ignored_label,      temperature};
  }
};

/// See yolo_distillation_loss() in ops.h. In: head [N,H,W,A*(5+classes)], the teacher's.
struct YoloDistillationLoss final : DistillationOp {
  int classes = 0;

  const char* name() const override { return "yolo_distillation_loss"; }

  Metas infer(std::span<const Meta> in) const override {
    check_count(*this, in, 2);
    check_pair(in);
    ESPALIER_CHECK(classes >= 1 && in[0].shape.axes() == 4 && in[0].shape.back() % (5 + classes) == 0, name(),
                   ": the head is ", in[0].shape, "; it must be [N,H,W,A*", 5 + classes, "] for ", classes,
                   " classes");
    return {{Shape{}, DType::kF32}};
  }

  void forward(Ctx& c) const override {
    const kernels::YoloDistillationProblem p = problem(c);
    const Tensor losses({static_cast<int>(p.predictors)}, c.in[0].device()), factor({1}, c.in[0].device());
    kernels::yolo_distillation_forward(losses.device(), p, losses.f32());
    kernels::loss_mean(losses.device(), losses.elements(), losses.f32(), {}, c.in[0].shape()[0],
                       c.out[0].f32(), factor.f32());
    c.saved = {factor};
  }

  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    check_gradient(c);
    const Tensor dx(c.in[0].shape(), c.in[0].device());
    kernels::yolo_distillation_backward(dx.device(), problem(c), {dy[0].f32(), c.saved[0].f32()}, dx.f32());
    return {dx, Tensor()};
  }

  void attributes(AttributeVisitor& v) override {
    DistillationOp::attributes(v);
    v.visit("classes", classes);
  }

 private:
  kernels::YoloDistillationProblem problem(const Ctx& c) const {
    return {c.in[0].elements() / (5 + classes), classes, c.in[0].f32(), c.in[1].f32(), temperature};
  }
};

}  // namespace

std::shared_ptr<Op> make_distillation_loss() { return std::make_shared<DistillationLoss>(); }
std::shared_ptr<Op> make_yolo_distillation_loss() { return std::make_shared<YoloDistillationLoss>(); }

Tensor distillation_loss(const Tensor& logits, const Tensor& teacher, const Tensor& labels, float temperature,
                         int ignored_label) {
  auto op = std::make_shared<DistillationLoss>();
  op->temperature = temperature;
  op->ignored_label = ignored_label;
  return apply1(op, {logits, teacher, labels});
}

Tensor yolo_distillation_loss(const Tensor& head, const Tensor& teacher, int classes, float temperature) {
  auto op = std::make_shared<YoloDistillationLoss>();
  op->temperature = temperature;
  op->classes = classes;
  return apply1(op, {head, teacher});
}

}  // namespace espalier
