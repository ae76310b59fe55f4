#include "models/unet.h"

#include "base/error.h"

namespace espalier {

Tensors unet(Scope s, Tensor x, const UNetOptions& options) {
  ESPALIER_CHECK(x.shape()[1] >= 16 && x.shape()[2] >= 16, "unet: the picture is ", x.shape()[1], "x",
                 x.shape()[2], "; four halvings need at least 16 pixels");
  const LayerOptions layer{.kernel = 3, .act = Activation::relu(), .bn_momentum = options.norm_momentum};
  const auto two = [&](const Scope& at, const Tensor& in, int channels) {
    const int out = scaled_width(channels, options.width);
    return conv_bn(at / "conv1", conv_bn(at / "conv0", in, out, layer), out, layer);
  };
  constexpr int down[] = {64, 128, 256, 512, 512}, up[] = {256, 128, 64, 64};
  Tensors skips;
  for (int n = 0; n < 5; ++n) {
    const Scope at = s / str("encode", n + 1);
    if (n > 0) {
      const Running place(at.path());
      skips.push_back(x);
      x = max_pool(x);
    }
    x = two(at, x, down[n]);
  }
  for (int n = 0; n < 4; ++n) {
    const Scope at = s / str("decode", n + 1);
    const Tensor skip = skips[3 - n];
    {
      const Running place(at.path());
      const Tensor larger =
          options.nearest ? resize_nearest_like(x, skip) : resize_bilinear_like(x, skip, true);
      x = concat({larger, skip});
    }
    x = two(at, x, up[n]);
  }
  const Scope at = s / "logits";
  const Running place(at.path());
  const Tensor w = at.param("w", {options.channels, 3, 3, x.channels()}, he_normal);
  return {conv2d(x, w, {.pad = {1, 1, 1, 1}})};
}

}  // namespace espalier
