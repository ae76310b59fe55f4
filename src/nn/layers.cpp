#include "nn/layers.h"

#include <algorithm>

#include "base/error.h"

namespace espalier {

PaddingStyle padding_style_from_name(const std::string& name) {
  ESPALIER_CHECK(name == "symmetric" || name == "tensorflow", "padding '", name,
                 "' is unknown; known are symmetric, tensorflow");
  return name == "symmetric" ? PaddingStyle::kSymmetric : PaddingStyle::kTensorflow;
}

Padding same_padding(PaddingStyle style, int height, int width, int kernel, int stride) {
  if (style == PaddingStyle::kSymmetric) return {kernel / 2, kernel / 2, kernel / 2, kernel / 2};
  const auto total = [&](int extent) {
    return std::max(0, ((extent + stride - 1) / stride - 1) * stride + kernel - extent);
  };
  const int v = total(height), h = total(width);
  return {v / 2, h / 2, v - v / 2, h - h / 2};
}

int scaled_width(int channels, float width) {
  return std::max(1, static_cast<int>(static_cast<float>(channels) * width));
}

Tensor norm(Scope s, const Tensor& x, const LayerOptions& o) {
  // One statement each: the order in which arguments are evaluated is the compiler's, that of parameters is
  // the file's.
  const int c = x.channels();
  const Tensor scale = s.param("scale", {c}, ones), shift = s.param("shift", {c}, zeros);
  const Tensor mean = s.param("mean", {c}, zeros, false), variance = s.param("variance", {c}, ones, false);
  return batch_norm(x, scale, shift, mean, variance, {.eps = o.bn_eps, .momentum = o.bn_momentum});
}

/// Kept apart from the norm in the graph: passes fuse, model functions stay naive.
static Tensor norm_and_activation(Scope s, const Tensor& y, const LayerOptions& o) {
  const Tensor z = norm(s / "norm", y, o);
  return o.act.is_none() ? z : activation(z, o.act);
}

Tensor conv_bn(Scope s, const Tensor& x, int out, const LayerOptions& o) {
  const Running layer(s.path());
  const Tensor w = s.param("w", {out, o.kernel, o.kernel, x.channels()}, o.init);
  const Padding pad = same_padding(o.padding, x.shape()[1], x.shape()[2], o.kernel, o.stride);
  return norm_and_activation(s, conv2d(x, w, {.stride = o.stride, .pad = pad}), o);
}

Tensor depthwise_bn(Scope s, const Tensor& x, const LayerOptions& o) {
  const Running layer(s.path());
  const Tensor w = s.param("w", {o.kernel, o.kernel, x.channels()}, o.init);
  const Padding pad = same_padding(o.padding, x.shape()[1], x.shape()[2], o.kernel, o.stride);
  return norm_and_activation(s, depthwise_conv2d(x, w, {.stride = o.stride, .pad = pad}), o);
}

Tensor fully_connected(Scope s, const Tensor& x, int out) {
  const Running layer(s.path());
  const Tensor w = s.param("w", {out, x.channels()}, xavier_uniform), bias = s.param("bias", {out}, zeros);
  return linear(x, w, bias);
}

}  // namespace espalier
