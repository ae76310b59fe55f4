#pragma once
// Pooling and resizing of INT8 codes; the output keeps the input's scale. Inference only. Arithmetic:
// kernels/quantized_resample.h. A concat of codes is the op concat itself.

#include "ops/ops.h"
#include "ops/quantized_elementwise.h"
#include "ops/resize.h"

namespace espalier {

/// In: codes [N,H,W,C]. Out: codes [N,P,Q,C].
struct QuantizedMaxPool final : InferenceOp {
  PoolOptions o;

  const char* name() const override { return "quantized_max_pool"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  void attributes(AttributeVisitor&) override;
  void to_onnx(OnnxNodes&) const override;
  std::unique_ptr<Prepared> prepare(const PrepareCtx&) const override;
};

/// In: codes [N,H,W,C], [like [N,P,Q,anything] of any type if height is 0]. Out: codes [N,P,Q,C].
struct QuantizedResize final : InferenceOp {
  ResizeOptions o;

  const char* name() const override { return "quantized_resize"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  void channels(ChannelTies&) const override;
  void attributes(AttributeVisitor& v) override { o.visit(v); }
  void to_onnx(OnnxNodes&) const override;
  std::unique_ptr<Prepared> prepare(const PrepareCtx&) const override;
};

}  // namespace espalier
