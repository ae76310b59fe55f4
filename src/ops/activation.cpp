#include "ops/activation.h"

#include "ops/channel_ties.h"
#include "ops/onnx_nodes.h"
#include "ops/ops.h"

namespace espalier {

Metas ActivationOp::infer(std::span<const Meta> in) const {
  check_f32(*this, in, 1);
  return {in[0]};
}
void ActivationOp::channels(ChannelTies& t) const { t.same(t.in(0), t.out()); }
void ActivationOp::attributes(AttributeVisitor& v) { visit_activation(v, act); }

void ActivationOp::forward(Ctx& c) const {
  kernels::activation_forward(c.device(), c.in[0].elements(), act, c.in[0].f32(), c.out[0].f32());
}

Tensors ActivationOp::backward(Ctx& c, std::span<const Tensor> dy) const {
  const Tensor dx(dy[0].shape(), dy[0].device());
  kernels::activation_backward(dx.device(), dx.elements(), act, c.in[0].f32(), dy[0].f32(), dx.f32());
  return {dx};
}

void ActivationOp::to_onnx(OnnxNodes& nodes) const {
  nodes.out(onnx_words::activated(nodes, nodes.in(0), act));
}

namespace {

struct Sigmoid final : Op {
  const char* name() const override { return "sigmoid"; }
  Metas infer(std::span<const Meta> in) const override {
    check_f32(*this, in, 1);
    return {in[0]};
  }
  void channels(ChannelTies& t) const override { t.same(t.in(0), t.out()); }
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  void attributes(AttributeVisitor&) override {}
  Keep keep() const override { return {.inputs = 0, .outputs = 1}; }
  bool never_negative(const std::vector<bool>&) const override { return true; }
  int overwrites() const override { return 0; }
  void to_onnx(OnnxNodes& nodes) const override { nodes.out(nodes.node("Sigmoid", {nodes.in(0)})); }

  void forward(Ctx& c) const override {
    kernels::sigmoid_forward(c.device(), c.in[0].elements(), c.in[0].f32(), c.out[0].f32());
  }
  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    const Tensor dx(dy[0].shape(), dy[0].device());
    kernels::sigmoid_backward(dx.device(), dx.elements(), c.out[0].f32(), dy[0].f32(), dx.f32());
    return {dx};
  }
};

}  // namespace

std::shared_ptr<Op> make_activation() { return std::make_shared<ActivationOp>(); }
std::shared_ptr<Op> make_sigmoid() { return std::make_shared<Sigmoid>(); }

Tensor activation(const Tensor& x, Activation act) {
  auto op = std::make_shared<ActivationOp>();
  op->act = act;
  return apply1(op, {x});
}
Tensor relu(const Tensor& x) { return activation(x, Activation::relu()); }
Tensor relu6(const Tensor& x) { return activation(x, Activation::relu6()); }
Tensor leaky_relu(const Tensor& x, float slope) { return activation(x, Activation::leaky(slope)); }
Tensor sigmoid(const Tensor& x) { return apply1(std::make_shared<Sigmoid>(), {x}); }

}  // namespace espalier
