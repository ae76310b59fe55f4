#pragma once

#include "kernels/activation.h"
#include "ops/op.h"

namespace espalier {

/// See batch_norm() in ops.h. In: x [N,H,W,C], scale, shift, mean, variance [C], [residual like x if
/// has_residual]. Out: y = act(normalised x * scale + shift + residual). In training mode forward() updates
/// mean and variance in place; they never have a gradient. passes/fuse_training.h sets act and has_residual.
struct BatchNorm final : Op {
  float eps = 1e-5f, momentum = 0.1f;
  Activation act;
  bool has_residual = false;

  const char* name() const override { return "batch_norm"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  Tensors backward(Ctx&, std::span<const Tensor> dy) const override;
  void channels(ChannelTies&) const override;
  void attributes(AttributeVisitor&) override;
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  void to_onnx(OnnxNodes&) const override;
  Keep keep() const override;
};

}  // namespace espalier
