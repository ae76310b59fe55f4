#pragma once
// Layers that two models or more use. A layer is a function from Scope and Tensor to Tensor.

#include "nn/scope.h"
#include "ops/ops.h"

namespace espalier {

/// Where a strided convolution's padding goes.
enum class PaddingStyle {
  kSymmetric,   ///< kernel / 2 on every side
  kTensorflow,  ///< "SAME": as little as needed, the odd pixel after the image
};
PaddingStyle padding_style_from_name(const std::string& name);  ///< "symmetric" or "tensorflow"

/// The padding that gives ceil(extent / stride) outputs, by style.
Padding same_padding(PaddingStyle style, int height, int width, int kernel, int stride);

/// A network's channels under a multiplier: their product rounded down, at least 1.
int scaled_width(int channels, float width);

struct LayerOptions {
  int kernel = 3, stride = 1;
  Activation act;
  PaddingStyle padding = PaddingStyle::kSymmetric;
  float bn_eps = 1e-5f, bn_momentum = 0.1f;
  Init init = he_normal;
};

/// Batch norm with its own parameters scale, shift, mean, variance.
Tensor norm(Scope s, const Tensor& x, const LayerOptions& o = {});
/// Convolution, batch norm, activation; no bias: the norm's shift takes its place. Parameters w, norm/*.
Tensor conv_bn(Scope s, const Tensor& x, int out, const LayerOptions& o);
/// The same with one filter a channel.
Tensor depthwise_bn(Scope s, const Tensor& x, const LayerOptions& o);
/// Fully connected with bias. Parameters w, bias.
Tensor fully_connected(Scope s, const Tensor& x, int out);

}  // namespace espalier
