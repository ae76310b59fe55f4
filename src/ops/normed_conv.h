#pragma once
// What training graphs are made of after passes/spread_batch_norms.h: a batch norm taken apart, its
// statistics with the convolution before it, its normalisation with the convolution after it. See
// kernels/normed_conv.h for why.

#include "kernels/activation.h"
#include "kernels/conv_shape.h"
#include "ops/op.h"

namespace espalier {

/// The attributes of a batch norm and of the activation after it.
struct NormAttributes {
  float eps = 1e-5f, momentum = 0.1f;
  Activation act;

  void visit(AttributeVisitor& visitor);
};

/// In: x, w, [moments of x [2,C], scale, shift, mean, variance [C] if has_norm]. Out: y = conv(z, w), where
/// z = act(normalised x * scale + shift) with a norm and z = x without; [moments of y [2,K] if measures]:
/// mean and biased variance of each channel, with gradients. x and y may be bf16. In training mode
/// normalisation is by `moments`, which also update mean and variance as in batch_norm(); otherwise by mean
/// and variance.
struct NormedConvolution : Op {
  int stride = 1;
  Padding pad;
  bool has_norm = false, measures = false;
  NormAttributes norm;

  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  Tensors backward(Ctx&, std::span<const Tensor> dy) const override;
  void attributes(AttributeVisitor&) override;
  int64_t macs(std::span<const Meta> in, std::span<const Meta> out) const override;
  Keep keep() const override;
  ZeroGradients zero_gradients() const override { return {.outputs = 1u << 1}; }
  uint32_t may_be_bf16() const override { return 1; }

 protected:
  virtual bool depthwise() const = 0;

 private:
  kernels::ConvShape shape_of(const Shape& x, const Shape& w) const;
};

struct NormedConv2d final : NormedConvolution {
  const char* name() const override { return "normed_conv2d"; }
  void channels(ChannelTies&) const override;

 protected:
  bool depthwise() const override { return false; }
};

struct NormedDepthwiseConv2d final : NormedConvolution {
  const char* name() const override { return "normed_depthwise_conv2d"; }
  void channels(ChannelTies&) const override;

 protected:
  bool depthwise() const override { return true; }
};

/// In: x, moments [2,C] of x, scale, shift, mean, variance [C], [residual like x if has_residual]. Out:
/// act(normalised x * scale + shift + residual): the second half of a batch norm where its result has to
/// exist. The gradient of x leaves out what x does through its moments, which have one of their own; with
/// `whole` it is all there and the moments' is zero, for an x whose producer would need a pass to add it.
struct Normalize final : Op {
  NormAttributes norm;
  bool has_residual = false, whole = false;

  const char* name() const override { return "normalize"; }
  Metas infer(std::span<const Meta> in) const override;
  void forward(Ctx&) const override;
  Tensors backward(Ctx&, std::span<const Tensor> dy) const override;
  void channels(ChannelTies&) const override;
  void attributes(AttributeVisitor&) override;
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
  Keep keep() const override;
  ZeroGradients zero_gradients() const override { return {.inputs = whole ? 1u << 1 : 0}; }
  uint32_t may_be_bf16() const override { return 1u | 1u << 6; }
};

}  // namespace espalier
