#pragma once
// INT8 convolutions and linear layers: inference only, made by passes/quantize.h. Arithmetic:
// kernels/quantized_conv2d.h.

#include "kernels/quantized_conv2d.h"
#include "ops/op.h"

namespace espalier {

/// In: x codes, w s8, bias s32 [K], multiplier f32 [K], [residual codes if has_residual]. Out: codes of
/// `out`, or f32.
struct QuantizedConvolution : Op {
  int stride = 1;
  Padding pad;
  std::string out = "s8";             ///< "s8", "u8" or "f32"
  float in_scale = 1, out_scale = 1;  ///< for people and tools; the arithmetic is in multiplier
  float residual_factor = 0;          ///< residual scale / output scale
  float slope = 1;                    ///< of negative values, before the rounding
  int low = -127, high = 127;         ///< limits of the codes, the activation's folded in
  bool has_residual = false;

  Tensors backward(Ctx&, std::span<const Tensor>) const override { no_gradient(*this); }
  bool differentiable() const override { return false; }
  void attributes(AttributeVisitor&) override;
  Keep keep() const override { return {.inputs = 0}; }
};

/// x [N,H,W,C], w [K,R,S,C] to [N,P,Q,K].
struct QuantizedConv2d final : QuantizedConvolution {
  const char* name() const override { return "quantized_conv2d"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  void channels(ChannelTies&) const override;
  int64_t macs(std::span<const Meta> in, std::span<const Meta> out) const override;
  void to_onnx(OnnxNodes&) const override;
  std::unique_ptr<Prepared> prepare(const PrepareCtx&) const override;
};

/// x [N,H,W,C], w [R,S,C] to [N,P,Q,C].
struct QuantizedDepthwiseConv2d final : QuantizedConvolution {
  const char* name() const override { return "quantized_depthwise_conv2d"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  void channels(ChannelTies&) const override;
  int64_t macs(std::span<const Meta> in, std::span<const Meta> out) const override;
  void to_onnx(OnnxNodes&) const override;
  std::unique_ptr<Prepared> prepare(const PrepareCtx&) const override;
};

/// x [N,C], w [K,C] to [N,K]: a convolution over images of one pixel.
struct QuantizedLinear final : QuantizedConvolution {
  const char* name() const override { return "quantized_linear"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  void channels(ChannelTies&) const override;
  int64_t macs(std::span<const Meta> in, std::span<const Meta> out) const override;
  void to_onnx(OnnxNodes&) const override;
  std::unique_ptr<Prepared> prepare(const PrepareCtx&) const override;
};

/// Throws Error unless the limits of an output's codes rise and are codes of that type.
void check_limits(const Op& op, int low, int high, DType codes);

/// The kernels' name of an element type; throws Error for types that hold no codes.
kernels::Code code_of(DType type);

/// The problem and epilogue of a call, from its inputs in the op's order.
kernels::ConvShape shape_of(const QuantizedConvolution& op, const Shape& x, const Shape& w);
kernels::Requantize requantize_of(const QuantizedConvolution& op, const Tensors& in);

}  // namespace espalier
