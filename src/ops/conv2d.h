#pragma once
// The two convolutions share attributes and inputs; see conv2d() and depthwise_conv2d() in ops.h.

#include "kernels/activation.h"
#include "kernels/conv_shape.h"
#include "ops/op.h"

namespace espalier {

/// In: x, w, [bias if has_bias], [residual if has_residual]. Out: y = act(conv(x, w) + bias + residual).
/// Training graphs use the plain form; the fused one is made by passes/fuse.h for inference and has gradients
/// all the same.
struct Convolution : Op {
  int stride = 1;
  Padding pad;
  Activation act;
  bool has_bias = false, has_residual = false;

  void attributes(AttributeVisitor&) override;
  uint32_t may_be_bf16() const override;
  bool never_negative(const std::vector<bool>&) const override { return act.slope == 0; }
};

struct Conv2d final : Convolution {
  const char* name() const override { return "conv2d"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  Tensors backward(Ctx&, std::span<const Tensor> dy) const override;
  void channels(ChannelTies&) const override;
  int64_t macs(std::span<const Meta> in, std::span<const Meta> out) const override;
  Keep keep() const override;
  void to_onnx(OnnxNodes&) const override;
  std::unique_ptr<Prepared> prepare(const PrepareCtx&) const override;
};

struct DepthwiseConv2d final : Convolution {
  const char* name() const override { return "depthwise_conv2d"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  Tensors backward(Ctx&, std::span<const Tensor> dy) const override;
  void channels(ChannelTies&) const override;
  int64_t macs(std::span<const Meta> in, std::span<const Meta> out) const override;
  Keep keep() const override;
  void to_onnx(OnnxNodes&) const override;
  std::unique_ptr<Prepared> prepare(const PrepareCtx&) const override;
};

}  // namespace espalier
