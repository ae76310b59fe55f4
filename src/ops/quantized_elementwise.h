#pragma once
// Borders of INT8 regions, and INT8 ops without filters. Inference only. Arithmetic:
// kernels/quantized_elementwise.h.

#include "ops/op.h"

namespace espalier {

/// A global mean of real numbers or of codes, see Op::to_onnx().
void write_onnx_global_mean(OnnxNodes& nodes);

struct InferenceOp : Op {
  Tensors backward(Ctx&, std::span<const Tensor>) const override { no_gradient(*this); }
  bool differentiable() const override { return false; }
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  Keep keep() const override { return {.inputs = 0}; }
  void channels(ChannelTies&) const override;  ///< element-wise: all the same
};

/// f32 to codes. In: x. Out: codes like x.
struct Quantize final : InferenceOp {
  float scale = 1;
  std::string out = "s8";  ///< "s8" or "u8"

  const char* name() const override { return "quantize"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  void attributes(AttributeVisitor&) override;
  void to_onnx(OnnxNodes&) const override;
  std::unique_ptr<Prepared> prepare(const PrepareCtx&) const override;
};

/// Codes to f32. In: codes. Out: f32 like x.
struct Dequantize final : InferenceOp {
  float scale = 1;

  const char* name() const override { return "dequantize"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  void attributes(AttributeVisitor&) override;
  void to_onnx(OnnxNodes&) const override;
  std::unique_ptr<Prepared> prepare(const PrepareCtx&) const override;
};

/// In: codes a, b of equal shapes. Out: codes of `out`.
struct QuantizedAdd final : InferenceOp {
  float a_factor = 1, b_factor = 1;  ///< input scale / output scale
  int low = -127, high = 127;
  std::string out = "s8";

  const char* name() const override { return "quantized_add"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  void attributes(AttributeVisitor&) override;
  void to_onnx(OnnxNodes&) const override;
  std::unique_ptr<Prepared> prepare(const PrepareCtx&) const override;
};

/// Mean over H and W with the input's scale. In: codes [N,H,W,C]. Out: codes [N,C].
struct QuantizedGlobalAvgPool final : InferenceOp {
  const char* name() const override { return "quantized_global_avg_pool"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  void attributes(AttributeVisitor&) override {}
  void to_onnx(OnnxNodes&) const override;
  std::unique_ptr<Prepared> prepare(const PrepareCtx&) const override;
};

}  // namespace espalier
