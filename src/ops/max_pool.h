#pragma once

#include "kernels/conv_shape.h"
#include "ops/ops.h"

namespace espalier {

/// The output of a pooling of x [N,H,W,C]; throws Error, in the op's name, where a window does not fit.
kernels::ConvShape pool_shape(const char* op, const PoolOptions& options, const Shape& x);
void visit_pool(AttributeVisitor& visitor, PoolOptions& options);
/// A pooling of real numbers or of codes, see Op::to_onnx().
void write_onnx(const PoolOptions& options, OnnxNodes& nodes);

/// See max_pool() in ops.h. In: x [N,H,W,C]. Out: [N,P,Q,C].
struct MaxPool final : Op {
  PoolOptions o;

  const char* name() const override { return "max_pool"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  Tensors backward(Ctx&, std::span<const Tensor> dy) const override;
  void channels(ChannelTies&) const override;
  void attributes(AttributeVisitor& v) override { visit_pool(v, o); }
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  uint32_t may_be_bf16() const override { return 1; }
  bool never_negative(const std::vector<bool>& inputs) const override { return inputs[0]; }
  void to_onnx(OnnxNodes&) const override;
  std::shared_ptr<const Op> on_codes() const override;
};

}  // namespace espalier
