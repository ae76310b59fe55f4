#include "models/mobilenet_v2.h"

#include "base/error.h"
#include "nn/layers.h"

namespace espalier {

namespace {

struct Layers {
  MobileNetV2Options options;

  LayerOptions layer(int kernel, int stride, Activation act) const {
    return {.kernel = kernel, .stride = stride, .act = act, .padding = options.padding};
  }
  int width(int channels) const { return scaled_width(channels, options.width); }

  Tensor inverted_residual(Scope s, const Tensor& x, int expand, int out, int stride, bool shortcut) const {
    Tensor y = x;
    if (expand != 1 || options.expand_first)
      y = conv_bn(s / "expand", y, x.channels() * expand, layer(1, 1, Activation::relu6()));
    y = depthwise_bn(s / "depthwise", y, layer(3, stride, Activation::relu6()));
    y = conv_bn(s / "project", y, out, layer(1, 1, Activation::none()));
    if (!shortcut) return y;
    const Running place(s.path());
    return add(x, y);
  }
};

}  // namespace

Tensors mobilenet_v2(Scope s, Tensor x, const MobileNetV2Options& options) {
  struct Stage {
    int expand, out, blocks, stride;
  };
  constexpr Stage stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                              {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  const Layers net{options};
  x = conv_bn(s / "stem", x, net.width(32), net.layer(3, 2, Activation::relu6()));
  int n = 0;
  for (const Stage& stage : stages)
    for (int b = 0; b < stage.blocks; ++b)
      x = net.inverted_residual(s / str("block", ++n), x, stage.expand, net.width(stage.out),
                                b == 0 ? stage.stride : 1, b > 0);
  x = conv_bn(s / "head", x, options.width > 1 ? net.width(1280) : 1280,
              net.layer(1, 1, Activation::relu6()));
  const Running place("pool");
  x = global_avg_pool(x);
  if (options.dropout > 0) x = dropout(x, options.dropout);
  return {fully_connected(s / "classifier", x, options.classes)};
}

}  // namespace espalier
