#pragma once

#include "kernels/activation.h"
#include "ops/op.h"

namespace espalier {

/// See linear() in ops.h. In: x [N,C], w [K,C], [bias [K] if has_bias]. Out: act(x w^T + bias) [N,K].
struct Linear final : Op {
  Activation act;
  bool has_bias = false;

  const char* name() const override { return "linear"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  Tensors backward(Ctx&, std::span<const Tensor> dy) const override;
  void channels(ChannelTies&) const override;
  void attributes(AttributeVisitor&) override;
  int64_t macs(std::span<const Meta> in, std::span<const Meta> out) const override;
  Keep keep() const override;
  bool never_negative(const std::vector<bool>&) const override { return act.slope == 0; }
  void to_onnx(OnnxNodes&) const override;
  std::unique_ptr<Prepared> prepare(const PrepareCtx&) const override;
};

}  // namespace espalier
