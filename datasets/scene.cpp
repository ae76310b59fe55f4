#include "datasets/scene.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace espalier {

namespace {

float f(double value) { return static_cast<float>(value); }

}  // namespace

void paint_background(Canvas& canvas, Random& random) {
  const Noise noise{random.bits()};
  const Rgb first = from_hsv(random.uniform(0, 360), random.uniform(0, 0.3), random.uniform(0.15, 0.95));
  const Rgb second =
      mix(first, from_hsv(random.uniform(0, 360), random.uniform(0, 0.3), random.uniform(0.1, 0.9)),
          f(random.uniform(0.15, 0.55)));
  const int style = random.below(4);
  const float turn = f(random.uniform(0, std::numbers::pi)), scale = f(random.uniform(3, 14));
  const float cosine = std::cos(turn), sine = std::sin(turn);
  for (int y = 0; y < canvas.side; ++y)
    for (int x = 0; x < canvas.side; ++x) {
      const float px = f(x) / f(canvas.side), py = f(y) / f(canvas.side);
      const float u = cosine * px + sine * py, v = cosine * py - sine * px;
      float share = 0.5f + 0.5f * noise.layered(scale * px, scale * py);
      if (style == 1) share = 0.5f + 0.5f * std::sin(4 * scale * u + 3 * noise(2 * u, 12 * v));  // planks
      if (style == 2)
        share = (std::sin(3 * scale * u) > 0) != (std::sin(3 * scale * v) > 0) ? 0.9f : 0.1f;  // cloth
      if (style == 3) share = u + 0.1f * noise(9 * px, 9 * py);                                // a plain wall
      canvas.at(x, y) = mix(first, second, std::clamp(share, 0.0f, 1.0f));
    }
}

void paint_patch(Canvas& canvas, Random& random, double largest) {
  Body patch{.x = f(random.uniform(0, 1)),
             .y = f(random.uniform(0, 1)),
             .angle = f(random.uniform(0, 3.14)),
             .half = f(random.uniform(0.08, largest))};
  patch.width = f(random.uniform(0.3, 0.8));
  patch.power = f(random.uniform(2, 20));
  patch.skin = from_hsv(random.uniform(0, 360), random.uniform(0, 0.4), random.uniform(0.2, 1));
  patch.second = patch.skin;
  patch.noise.seed = random.bits();
  paint(canvas, patch, {{0, 0, 1}, f(random.uniform(0.7, 1))});
}

Light draw_light(Random& random) {
  const float slant = f(random.uniform(0, 2 * std::numbers::pi)), height = f(random.uniform(0.35, 0.9));
  const float flat = std::sqrt(1 - height * height);
  return {{flat * std::cos(slant), flat * std::sin(slant), height}, f(random.uniform(0.25, 0.6))};
}

Image develop(const Canvas& canvas, Random& random) {
  const int size = canvas.side / 2;
  const float exposure = f(random.uniform(0.65, 1.3)), warmth = f(random.uniform(-0.12, 0.12)),
              tint = f(random.uniform(-0.06, 0.06)), haze = f(random.uniform(0, 0.12)),
              grain = f(random.uniform(0.005, 0.035)), blur = f(random.uniform(0, 0.6));
  std::vector<Rgb> small(static_cast<size_t>(size) * size);
  const auto at = [&](int x, int y) -> const Rgb& {
    return canvas.pixels[static_cast<size_t>(y) * canvas.side + x];
  };
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x)
      small[static_cast<size_t>(y) * size + x] =
          (at(2 * x, 2 * y) + at(2 * x + 1, 2 * y) + at(2 * x, 2 * y + 1) + at(2 * x + 1, 2 * y + 1)) * 0.25f;
  Image image(size, size);
  const auto near = [&](int x, int y) -> const Rgb& {
    return small[static_cast<size_t>(std::clamp(y, 0, size - 1)) * size + std::clamp(x, 0, size - 1)];
  };
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x) {
      const Rgb around = (near(x - 1, y) + near(x + 1, y) + near(x, y - 1) + near(x, y + 1)) * 0.25f;
      const Rgb c = mix(near(x, y), around, blur) * exposure;
      const float rgb[3] = {c.r * (1 + warmth), c.g * (1 + tint), c.b * (1 - warmth)};
      const float speck = grain * f(random.normal());
      for (int k = 0; k < 3; ++k) {
        const float v = haze + (1 - haze) * rgb[k] + speck;
        image.at(x, y)[k] = static_cast<uint8_t>(std::clamp(v, 0.0f, 1.0f) * 255 + 0.5f);
      }
    }
  return image;
}

}  // namespace espalier
