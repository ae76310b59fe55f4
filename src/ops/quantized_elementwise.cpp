#include "ops/quantized_elementwise.h"

#include "base/error.h"
#include "kernels/quantized_elementwise.h"
#include "ops/channel_ties.h"
#include "ops/onnx_nodes.h"
#include "ops/quantized_convolution.h"

namespace espalier {

namespace {

bool is_code(const Meta& meta) { return meta.dtype == DType::kS8 || meta.dtype == DType::kU8; }

Meta codes(const Op& op, const Shape& shape, const std::string& out) {
  const Meta meta = {shape, dtype_from_name(out)};
  ESPALIER_CHECK(is_code(meta), op.name(), ": out is ", out, "; it must be s8 or u8");
  return meta;
}

}  // namespace

void InferenceOp::channels(ChannelTies& t) const {
  for (int i = 0; i < t.inputs(); ++i) t.same(t.in(i), t.out());
}

Metas Quantize::infer(std::span<const Meta> in) const {
  check_count(*this, in, 1);
  ESPALIER_CHECK(in[0].dtype == DType::kF32 && scale > 0, "quantize: x is ", in[0], " and the scale ", scale,
                 "; expected f32 and a positive scale");
  return {codes(*this, in[0].shape, out)};
}

void Quantize::forward(Ctx& c) const {
  const bool is_unsigned = c.out[0].dtype() == DType::kU8;
  kernels::quantize(c.device(), c.in[0].elements(), c.in[0].f32(), 1 / scale, is_unsigned ? 0 : -127,
                    is_unsigned ? 255 : 127, code_of(c.out[0].dtype()), c.out[0].data());
}

void Quantize::attributes(AttributeVisitor& v) {
  v.visit("scale", scale);
  v.visit("out", out);
}

Metas Dequantize::infer(std::span<const Meta> in) const {
  check_count(*this, in, 1);
  ESPALIER_CHECK(is_code(in[0]), "dequantize: x is ", in[0], "; expected s8 or u8");
  return {{in[0].shape, DType::kF32}};
}

void Dequantize::forward(Ctx& c) const {
  kernels::dequantize(c.device(), c.in[0].elements(), code_of(c.in[0].dtype()), c.in[0].data(), scale,
                      c.out[0].f32());
}

void Dequantize::attributes(AttributeVisitor& v) { v.visit("scale", scale); }

Metas QuantizedAdd::infer(std::span<const Meta> in) const {
  check_count(*this, in, 2);
  ESPALIER_CHECK(in[0].shape == in[1].shape && is_code(in[0]) && is_code(in[1]), "quantized_add: a is ",
                 in[0], " and b is ", in[1], "; expected codes of equal shapes");
  const Meta y = codes(*this, in[0].shape, out);
  check_limits(*this, low, high, y.dtype);
  return {y};
}

void QuantizedAdd::forward(Ctx& c) const {
  kernels::quantized_add(c.device(), c.in[0].elements(), code_of(c.in[0].dtype()), c.in[0].data(), a_factor,
                         code_of(c.in[1].dtype()), c.in[1].data(), b_factor, low, high,
                         code_of(c.out[0].dtype()), c.out[0].data());
}

void QuantizedAdd::attributes(AttributeVisitor& v) {
  v.visit("a_factor", a_factor);
  v.visit("b_factor", b_factor);
  v.visit("low", low);
  v.visit("high", high);
  v.visit("out", out);
}

Metas QuantizedGlobalAvgPool::infer(std::span<const Meta> in) const {
  check_count(*this, in, 1);
  const Shape& x = in[0].shape;
  ESPALIER_CHECK(x.axes() == 4 && x[1] > 0 && x[2] > 0 && is_code(in[0]), "quantized_global_avg_pool: x is ",
                 in[0], "; expected codes [N,H,W,C] with at least one pixel");
  return {{{x[0], x[3]}, in[0].dtype}};
}

void QuantizedGlobalAvgPool::forward(Ctx& c) const {
  const Shape& x = c.in[0].shape();
  kernels::quantized_global_avg_pool(c.device(), x[0], x[1] * x[2], x[3], code_of(c.in[0].dtype()),
                                     c.in[0].data(), c.out[0].data());
}

void Quantize::to_onnx(OnnxNodes& nodes) const { nodes.out_codes(nodes.in(0), scale); }
void Dequantize::to_onnx(OnnxNodes& nodes) const { nodes.out(nodes.in(0)); }
void QuantizedAdd::to_onnx(OnnxNodes& nodes) const {
  const float out_scale = nodes.scale(0) / a_factor;
  const OnnxNodes::Name sum = nodes.node("Add", {nodes.in(0), nodes.in(1)});
  nodes.out_codes(onnx_words::within(nodes, sum, low, high, out_scale), out_scale);
}
void QuantizedGlobalAvgPool::to_onnx(OnnxNodes& nodes) const { write_onnx_global_mean(nodes); }

std::shared_ptr<Op> make_quantize() { return std::make_shared<Quantize>(); }
std::shared_ptr<Op> make_dequantize() { return std::make_shared<Dequantize>(); }
std::shared_ptr<Op> make_quantized_add() { return std::make_shared<QuantizedAdd>(); }
std::shared_ptr<Op> make_quantized_global_avg_pool() { return std::make_shared<QuantizedGlobalAvgPool>(); }

}  // namespace espalier
