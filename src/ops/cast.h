#pragma once

#include "ops/op.h"

namespace espalier {

/// See cast() in ops.h. In: x, f32 or bf16. Out: the same numbers in the other type.
struct Cast final : Op {
  bool to_bf16 = false;

  const char* name() const override { return "cast"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  Tensors backward(Ctx&, std::span<const Tensor> dy) const override;
  void channels(ChannelTies&) const override;
  void attributes(AttributeVisitor& v) override { v.visit("to_bf16", to_bf16); }
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  Keep keep() const override { return {.inputs = 0}; }
};

}  // namespace espalier
