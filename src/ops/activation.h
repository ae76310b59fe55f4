#pragma once

#include "kernels/activation.h"
#include "ops/op.h"

namespace espalier {

/// See activation() in ops.h. In: x. Out: y like x.
struct ActivationOp final : Op {
  Activation act;

  const char* name() const override { return "activation"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  Tensors backward(Ctx&, std::span<const Tensor> dy) const override;
  void channels(ChannelTies&) const override;
  void attributes(AttributeVisitor&) override;
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  bool never_negative(const std::vector<bool>& inputs) const override { return act.slope == 0 || inputs[0]; }
  void to_onnx(OnnxNodes&) const override;
  int overwrites() const override { return 0; }
};

}  // namespace espalier
