#pragma once

#include "ops/op.h"

namespace espalier {

/// See fake_quantize() in ops.h. In: x, scale [1], or [extent of `axis`]. Out: y like x.
struct FakeQuantize final : Op {
  float low = -127, high = 127;  ///< least and largest code
  int axis = -1;                 ///< one scale for each position on it; -1: one for all

  const char* name() const override { return "fake_quantize"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  Tensors backward(Ctx&, std::span<const Tensor> dy) const override;
  void channels(ChannelTies&) const override;
  void attributes(AttributeVisitor&) override;
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
};

}  // namespace espalier
