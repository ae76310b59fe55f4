#include "models/yolov3_mobilenet_v1.h"

#include "base/error.h"

namespace espalier {

namespace {

/// 1x1 to `channels` and 3x3 to twice as many in turn.
struct Neck {
  int channels;

  Tensor narrow(Scope s, const Tensor& x) const {
    return conv_bn(s, x, channels, {.kernel = 1, .act = Activation::leaky(0.1f)});
  }
  Tensor wide(Scope s, const Tensor& x) const {
    return conv_bn(s, x, 2 * channels, {.kernel = 3, .act = Activation::leaky(0.1f)});
  }
  /// What the next finer head goes on with.
  Tensor route(Scope s, Tensor x) const {
    x = wide(s / "conv1", narrow(s / "conv0", x));
    x = wide(s / "conv3", narrow(s / "conv2", x));
    return narrow(s / "conv4", x);
  }
};

Tensor output(Scope s, const Tensor& x, int channels) {
  const Running layer(s.path());
  const Tensor w = s.param("w", {channels, 1, 1, x.channels()}, he_normal),
               bias = s.param("bias", {channels}, zeros);
  return conv2d(x, w, {.bias = bias});
}

}  // namespace

Tensors yolov3_mobilenet_v1(Scope s, const Tensor& x, const YoloV3Options& options) {
  ESPALIER_CHECK(x.shape()[1] % 32 == 0 && x.shape()[2] % 32 == 0, "yolov3_mobilenet_v1: the picture is ",
                 x.shape()[1], "x", x.shape()[2], "; both sides must be multiples of 32");
  MobileNetV1Options backbone = options.backbone;
  backbone.width = options.width;
  const MobileNetV1Features features = mobilenet_v1_features(s / "backbone", x, backbone);
  const Tensor maps[] = {features.thirty_second,
                         options.early_tap ? features.early_sixteenth : features.sixteenth, features.eighth};
  constexpr int channels[] = {512, 256, 128};
  Tensors heads;
  Tensor route;
  for (int n = 0; n < 3; ++n) {
    const Neck neck{scaled_width(channels[n], options.width)};
    Tensor y = maps[n];
    if (n > 0) {
      const std::string name = str("yolo_transition", n - 1);
      const Tensor finer = neck.narrow(s / name, route);
      const Running place(name);
      y = concat({resize_nearest_like(finer, y), y});
    }
    const Scope block = s / str("yolo_block", n);
    route = neck.route(block, y);
    heads.push_back(output(s / str("yolo_output", n), neck.wide(block / "tip", route),
                           options.anchors * (5 + options.classes)));
  }
  return heads;
}

}  // namespace espalier
