#pragma once

#include "kernels/resize.h"
#include "ops/op.h"

namespace espalier {

/// Where a resize goes and how.
struct ResizeOptions {
  int height = 0, width = 0;  ///< 0: those of the second input, `like`
  bool bilinear = false, align_corners = false;

  /// The output's extents; throws Error, in the op's name, for x and like that do not fit.
  Shape output(const Op& op, std::span<const Meta> in) const;
  kernels::ResizeShape problem(const Shape& x, const Shape& y) const;
  void visit(AttributeVisitor& visitor);
  /// A resize of real numbers or of codes, see Op::to_onnx().
  void write_onnx(OnnxNodes& nodes) const;
};

/// See resize_nearest() and resize_bilinear() in ops.h. In: x [N,H,W,C], [like [N,P,Q,anything] if height is
/// 0]. Out: [N,P,Q,C].
struct Resize final : Op {
  ResizeOptions o;

  const char* name() const override { return "resize"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  Tensors backward(Ctx&, std::span<const Tensor> dy) const override;
  void channels(ChannelTies&) const override;
  void attributes(AttributeVisitor& v) override { o.visit(v); }
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  Keep keep() const override { return {.inputs = 0}; }
  /// `like` lends its extents only.
  ZeroGradients zero_gradients() const override { return {.inputs = o.height ? 0u : 1u << 1}; }
  uint32_t may_be_bf16() const override { return o.height ? 1 : 3; }
  bool never_negative(const std::vector<bool>& inputs) const override { return inputs[0]; }
  void to_onnx(OnnxNodes&) const override;
  std::shared_ptr<const Op> on_codes() const override;
};

}  // namespace espalier
