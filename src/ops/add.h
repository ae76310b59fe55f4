#pragma once

#include "ops/op.h"

namespace espalier {

/// See add() in ops.h. In: a, b of equal shapes. Out: a + b.
struct Add final : Op {
  const char* name() const override { return "add"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  Tensors backward(Ctx&, std::span<const Tensor> dy) const override;
  void channels(ChannelTies&) const override;
  void attributes(AttributeVisitor&) override {}
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  Keep keep() const override { return {.inputs = 0}; }
  bool never_negative(const std::vector<bool>& inputs) const override { return inputs[0] && inputs[1]; }
  void to_onnx(OnnxNodes&) const override;
  int overwrites() const override { return 0; }
};

}  // namespace espalier
