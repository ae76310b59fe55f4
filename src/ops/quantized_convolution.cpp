#include "ops/quantized_convolution.h"

#include "base/error.h"
#include "ops/channel_ties.h"
#include "ops/convolution.h"
#include "ops/onnx_nodes.h"

namespace espalier {

namespace {

enum Input { kX, kW, kBias, kMultiplier, kResidual };

bool is_code(DType type) { return type == DType::kS8 || type == DType::kU8; }

/// Checks what the three ops share and gives the output's meta.
Metas infer_output(const QuantizedConvolution& op, std::span<const Meta> in, int K, const Shape& y) {
  ESPALIER_CHECK(is_code(in[kX].dtype) && in[kW].dtype == DType::kS8, op.name(), ": x is ", in[kX], " and w ",
                 in[kW], "; x must be s8 or u8, w s8");
  ESPALIER_CHECK((in[kBias] == Meta{{K}, DType::kS32} && in[kMultiplier] == Meta{{K}, DType::kF32}),
                 op.name(), ": bias is ", in[kBias], " and multiplier ", in[kMultiplier], "; expected s32[",
                 K, "] and f32[", K, "]");
  if (op.has_residual)
    ESPALIER_CHECK(in[kResidual].shape == y && is_code(in[kResidual].dtype), op.name(), ": residual is ",
                   in[kResidual], ", the output is ", y);
  const DType out = dtype_from_name(op.out);
  ESPALIER_CHECK(is_code(out) || out == DType::kF32, op.name(), ": out is ", op.out,
                 "; it must be s8, u8 or f32");
  check_limits(op, op.low, op.high, out);
  return {{y, out}};
}

Shape output_of(const QuantizedConvolution& op, const kernels::ConvShape& s) {
  check_window(op.name(), s);
  return {s.N, s.P(), s.Q(), s.K};
}

void tie_rest(const QuantizedConvolution& op, ChannelTies& t) {
  t.same(t.in(kBias), t.out());
  t.same(t.in(kMultiplier), t.out());
  if (op.has_residual) t.same(t.in(kResidual), t.out());
}

}  // namespace

void check_limits(const Op& op, int low, int high, DType codes) {
  const int least = codes == DType::kU8 ? 0 : -128, most = codes == DType::kS8 ? 127 : 255;
  ESPALIER_CHECK(low <= high && low >= least && high <= most, op.name(), ": its codes are limited to ", low,
                 " .. ", high, "; limits must rise and lie in ", least, " .. ", most);
}

kernels::Code code_of(DType type) {
  ESPALIER_CHECK(is_code(type) || type == DType::kF32, "INT8 kernels take s8, u8 and f32, not ", type);
  return type == DType::kU8   ? kernels::Code::kU8
         : type == DType::kS8 ? kernels::Code::kS8
                              : kernels::Code::kF32;
}

kernels::ConvShape shape_of(const QuantizedConvolution& op, const Shape& x, const Shape& w) {
  if (x.axes() == 2) return {x[0], 1, 1, x[1], w[0], 1, 1, 1, {}};
  if (w.axes() == 3) return {x[0], x[1], x[2], x[3], x[3], w[0], w[1], op.stride, op.pad};
  return {x[0], x[1], x[2], x[3], w[0], w[1], w[2], op.stride, op.pad};
}

kernels::Requantize requantize_of(const QuantizedConvolution& op, const Tensors& in) {
  kernels::Requantize r{.bias = in[kBias].s32(),
                        .multiplier = in[kMultiplier].f32(),
                        .slope = op.slope,
                        .low = op.low,
                        .high = op.high};
  if (op.has_residual) {
    r.residual = in[kResidual].data();
    r.residual_code = code_of(in[kResidual].dtype());
    r.residual_factor = op.residual_factor;
  }
  return r;
}

void QuantizedConvolution::attributes(AttributeVisitor& v) {
  v.visit("stride", stride);
  visit_padding(v, pad);
  v.visit("out", out);
  v.visit("in_scale", in_scale);
  v.visit("out_scale", out_scale);
  v.visit("residual_factor", residual_factor);
  v.visit("slope", slope);
  v.visit("low", low);
  v.visit("high", high);
  v.visit("has_residual", has_residual);
}

Metas QuantizedConv2d::infer(std::span<const Meta> in) const {
  check_count(*this, in, has_residual ? 5 : 4);
  const Shape &x = in[kX].shape, &w = in[kW].shape;
  ESPALIER_CHECK(x.axes() == 4 && w.axes() == 4 && x[3] == w[3], "quantized_conv2d: x is ", x, " and w is ",
                 w, "; expected [N,H,W,C] and [K,R,S,C]");
  return infer_output(*this, in, w[0], output_of(*this, shape_of(*this, x, w)));
}

void QuantizedConv2d::forward(Ctx& c) const {
  kernels::quantized_conv2d(c.device(), shape_of(*this, c.in[kX].shape(), c.in[kW].shape()),
                            code_of(c.in[kX].dtype()), c.in[kX].data(), c.in[kW].s8(),
                            requantize_of(*this, c.in), code_of(c.out[0].dtype()), c.out[0].data());
}

void QuantizedConv2d::channels(ChannelTies& t) const {
  t.same(t.in(kX), t.in(kW, 3));
  t.same(t.in(kW, 0), t.out());
  tie_rest(*this, t);
}

int64_t QuantizedConv2d::macs(std::span<const Meta> in, std::span<const Meta> out) const {
  return out[0].shape.elements() * (in[kW].shape.elements() / in[kW].shape[0]);
}

Metas QuantizedDepthwiseConv2d::infer(std::span<const Meta> in) const {
  check_count(*this, in, has_residual ? 5 : 4);
  const Shape &x = in[kX].shape, &w = in[kW].shape;
  ESPALIER_CHECK(x.axes() == 4 && w.axes() == 3 && x[3] == w[2], "quantized_depthwise_conv2d: x is ", x,
                 " and w is ", w, "; expected [N,H,W,C] and [R,S,C]");
  return infer_output(*this, in, x[3], output_of(*this, shape_of(*this, x, w)));
}

void QuantizedDepthwiseConv2d::forward(Ctx& c) const {
  kernels::quantized_depthwise(c.device(), shape_of(*this, c.in[kX].shape(), c.in[kW].shape()),
                               code_of(c.in[kX].dtype()), c.in[kX].data(), c.in[kW].s8(),
                               requantize_of(*this, c.in), code_of(c.out[0].dtype()), c.out[0].data());
}

void QuantizedDepthwiseConv2d::channels(ChannelTies& t) const {
  t.same(t.in(kX), t.in(kW));
  t.same(t.in(kX), t.out());
  tie_rest(*this, t);
}

int64_t QuantizedDepthwiseConv2d::macs(std::span<const Meta> in, std::span<const Meta> out) const {
  return out[0].shape.elements() * in[kW].shape[0] * in[kW].shape[1];
}

Metas QuantizedLinear::infer(std::span<const Meta> in) const {
  check_count(*this, in, has_residual ? 5 : 4);
  const Shape &x = in[kX].shape, &w = in[kW].shape;
  ESPALIER_CHECK(x.axes() == 2 && w.axes() == 2 && x[1] == w[1], "quantized_linear: x is ", x, " and w is ",
                 w, "; expected [N,C] and [K,C]");
  check_window(name(), shape_of(*this, x, w));
  return infer_output(*this, in, w[0], {x[0], w[0]});
}

void QuantizedLinear::forward(Ctx& c) const {
  kernels::quantized_conv2d(c.device(), shape_of(*this, c.in[kX].shape(), c.in[kW].shape()),
                            code_of(c.in[kX].dtype()), c.in[kX].data(), c.in[kW].s8(),
                            requantize_of(*this, c.in), code_of(c.out[0].dtype()), c.out[0].data());
}

void QuantizedLinear::channels(ChannelTies& t) const {
  t.same(t.in(kX), t.in(kW, 1));
  t.same(t.in(kW, 0), t.out());
  tie_rest(*this, t);
}

int64_t QuantizedLinear::macs(std::span<const Meta> in, std::span<const Meta>) const {
  return in[kX].shape[0] * in[kW].shape.elements();
}

namespace {

/// As convolutions of the real numbers that the codes stand for, which runtimes recognise and run in INT8.
void write_onnx(const QuantizedConvolution& op, OnnxNodes& nodes, const char* type,
                const std::vector<OnnxNodes::Attribute>& attributes) {
  const Tensor &w = nodes.parameter(kW), &multiplier = nodes.parameter(kMultiplier);
  const float in_scale = nodes.scale(kX), out_scale = op.out == "f32" ? 1.0f : op.out_scale;
  const Tensor scales(multiplier.shape()), products(multiplier.shape());
  for (int64_t k = 0; k < scales.elements(); ++k) {
    products.f32()[k] = multiplier.f32()[k] * out_scale;
    scales.f32()[k] = products.f32()[k] / in_scale;
  }
  const OnnxNodes::Name none =
      nodes.constant("w_zero", Tensor::zeros(scales.shape(), Device::kCpu, DType::kS8));
  const OnnxNodes::Attribute first_axis = {"axis", int64_t{0}};
  const OnnxNodes::Name filters =
      nodes.node("DequantizeLinear",
                 {nodes.constant("w", onnx_words::filters(w, w.shape().axes() == 3)),
                  nodes.constant("w_scale", scales), none},
                 {first_axis});
  const OnnxNodes::Name bias = nodes.node(
      "DequantizeLinear",
      {nodes.constant("bias", nodes.parameter(kBias)), nodes.constant("bias_scale", products)}, {first_axis});
  OnnxNodes::Name y = nodes.node(type, {nodes.in(kX), filters, bias}, attributes);
  y = onnx_words::activated(nodes, y, {.slope = op.slope});
  if (op.has_residual) y = nodes.node("Add", {y, nodes.in(kResidual)});
  if (op.out == "f32")
    nodes.out(y);
  else
    nodes.out_codes(onnx_words::within(nodes, y, op.low, op.high, out_scale), out_scale);
}

}  // namespace

void QuantizedConv2d::to_onnx(OnnxNodes& nodes) const {
  const Shape& w = nodes.meta(kW).shape;
  write_onnx(*this, nodes, "Conv", onnx_words::window(w[1], w[2], stride, pad));
}

void QuantizedDepthwiseConv2d::to_onnx(OnnxNodes& nodes) const {
  const Shape& w = nodes.meta(kW).shape;
  write_onnx(*this, nodes, "Conv", onnx_words::window(w[0], w[1], stride, pad, w.back()));
}

void QuantizedLinear::to_onnx(OnnxNodes& nodes) const {
  write_onnx(*this, nodes, "Gemm", {{"transB", int64_t{1}}});
}

std::shared_ptr<Op> make_quantized_conv2d() { return std::make_shared<QuantizedConv2d>(); }
std::shared_ptr<Op> make_quantized_depthwise_conv2d() { return std::make_shared<QuantizedDepthwiseConv2d>(); }
std::shared_ptr<Op> make_quantized_linear() { return std::make_shared<QuantizedLinear>(); }

}  // namespace espalier
