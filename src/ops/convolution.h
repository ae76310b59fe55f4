#pragma once
// What dense and depthwise convolution share: window checks, the fused epilogue and its gradients.

#include "kernels/conv2d.h"
#include "ops/conv2d.h"
#include "ops/ops.h"

namespace espalier {

/// Throws Error unless the inputs are as many as the attributes say, and of the types that the op takes.
void check_inputs(const Convolution& op, std::span<const Meta> in);
/// Throws Error unless the fused activation can be told from the output alone.
void check_fused(const Convolution& op);
/// Throws Error unless stride and padding make sense, no extent is 0 and the filter fits the padded image.
void check_window(const char* op, const kernels::ConvShape& shape);
/// Throws Error unless bias is [K] and residual is like y, as the attributes say.
void check_epilogue(const Convolution& op, std::span<const Meta> in, const Shape& y);
template <class T>
kernels::EpilogueOf<T> epilogue_of(const Convolution& op, const Tensors& in) {
  return {op.has_bias ? in[2].f32() : nullptr, op.has_residual ? in.back().as<T>() : nullptr, op.act};
}
/// dy times the activation's derivative, taken from the output; dy itself without an activation.
Tensor before_activation(const Convolution& op, const Ctx& ctx, const Tensor& dy);
/// Fills the gradients of bias and residual from g, the gradient before the activation.
void epilogue_gradients(const Convolution& op, const Ctx& ctx, const Tensor& g, Tensors& dx);
void tie_epilogue(const Convolution& op, ChannelTies& ties);
/// The whole op, see Op::to_onnx().
void write_onnx(const Convolution& op, OnnxNodes& nodes);

template <class Op>
Tensor apply_convolution(const Tensor& x, const Tensor& w, const ConvOptions& o) {
  auto op = std::make_shared<Op>();
  op->stride = o.stride;
  op->pad = o.pad;
  op->act = o.act;
  Tensors in = {x, w};
  if ((op->has_bias = o.bias.defined())) in.push_back(o.bias);
  if ((op->has_residual = o.residual.defined())) in.push_back(o.residual);
  return apply1(op, in);
}

}  // namespace espalier
