#include "models/mobilenet_v1.h"

#include "base/error.h"

namespace espalier {

MobileNetV1Features mobilenet_v1_features(Scope s, Tensor x, const MobileNetV1Options& options) {
  struct Block {
    int out, stride;
  };
  constexpr Block blocks[] = {{64, 1},  {128, 2}, {128, 1}, {256, 2}, {256, 1},  {512, 2}, {512, 1},
                              {512, 1}, {512, 1}, {512, 1}, {512, 1}, {1024, 2}, {1024, 1}};
  const auto layer = [&](int kernel, int stride) {
    return LayerOptions{.kernel = kernel, .stride = stride, .act = options.act, .padding = options.padding};
  };
  MobileNetV1Features features;
  x = conv_bn(s / "stem", x, scaled_width(32, options.width), layer(3, 2));
  int n = 0;
  for (const Block& block : blocks) {
    const Scope at = s / str("block", ++n);
    x = depthwise_bn(at / "depthwise", x, layer(3, block.stride));
    x = conv_bn(at / "pointwise", x, scaled_width(block.out, options.width), layer(1, 1));
    if (n == 4) features.eighth = x;
    if (n == 6) features.early_sixteenth = x;
    if (n == 11) features.sixteenth = x;
  }
  features.thirty_second = x;
  return features;
}

Tensors mobilenet_v1(Scope s, const Tensor& x, int classes, const MobileNetV1Options& options) {
  const Tensor last = mobilenet_v1_features(s, x, options).thirty_second;
  const Running place("pool");
  return {fully_connected(s / "classifier", global_avg_pool(last), classes)};
}

}  // namespace espalier
