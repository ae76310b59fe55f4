#include "ops/onnx_nodes.h"

#include <cstring>

#include "base/error.h"

namespace espalier {

void Op::to_onnx(OnnxNodes&) const {
  fail(str("op '", name(), "' has no form in ONNX; export the model of inference that a training leaves"));
}

namespace onnx_words {

void out_like_input(OnnxNodes& nodes, const Name& real) {
  if (nodes.meta(0).dtype == DType::kF32)
    nodes.out(real);
  else
    nodes.out_codes(real, nodes.scale(0));
}

Name activated(OnnxNodes& nodes, Name x, Activation act) {
  const bool capped = act.cap != Activation::kNoCap;
  if (act.slope == 0 && !capped) return nodes.node("Relu", {x});
  if (act.slope != 0 && act.slope != 1) x = nodes.node("LeakyRelu", {x}, {{"alpha", act.slope}});
  if (!capped) return x;
  return nodes.node("Clip",
                    {x, act.slope == 0 ? nodes.number("min", 0) : Name(), nodes.number("max", act.cap)});
}

Name within(OnnxNodes& nodes, const Name& x, int low, int high, float scale) {
  const bool is_unsigned = nodes.out_meta().dtype == DType::kU8;
  const bool below = low > (is_unsigned ? 0 : -127), above = high < (is_unsigned ? 255 : 127);
  if (!below && !above) return x;
  return nodes.node("Clip", {x, below ? nodes.number("low", static_cast<float>(low) * scale) : Name(),
                             above ? nodes.number("high", static_cast<float>(high) * scale) : Name()});
}

Tensor filters(const Tensor& w, bool depthwise) {
  const Shape& from = w.shape();
  if (from.axes() == 2) return w;
  // Both are positions of a pixel, R * S of them, and channels inside, to be turned inside out.
  const int outer = depthwise ? 1 : from[0], inner = from.back();
  const int rows = from[depthwise ? 0 : 1], columns = from[depthwise ? 1 : 2], places = rows * columns;
  Tensor turned(depthwise ? Shape{inner, 1, rows, columns} : Shape{outer, inner, rows, columns}, Device::kCpu,
                w.dtype());
  const size_t bytes = bytes_of(w.dtype());
  const auto* source = static_cast<const char*>(w.data());
  auto* to = static_cast<char*>(turned.data());
  for (int64_t k = 0; k < outer; ++k)
    for (int64_t c = 0; c < inner; ++c)
      for (int64_t place = 0; place < places; ++place, to += bytes)
        std::memcpy(to, source + ((k * places + place) * inner + c) * bytes, bytes);
  return turned;
}

Attributes window(int rows, int columns, int stride, const Padding& pad, int groups) {
  const OnnxNodes::Attribute shape = {"kernel_shape", std::vector<int64_t>{rows, columns}},
                             strides = {"strides", std::vector<int64_t>{stride, stride}},
                             pads = {"pads", std::vector<int64_t>{pad.top, pad.left, pad.bottom, pad.right}};
  if (groups == 0) return {shape, strides, pads};
  return {shape, strides, pads, {"group", int64_t{groups}}};
}

}  // namespace onnx_words
}  // namespace espalier
