// Draws the back of an eye: a reddish field with vessels that spring from a bright disc, and bright things
// that are no disc.

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "datasets/scene.h"
#include "datasets/synthetic.h"

namespace espalier {

namespace {

float f(double value) { return static_cast<float>(value); }

struct Disc {
  float x, y, across, along, angle;  ///< centre and half axes, in shares of the canvas' side
  /// 1 on the rim, less inside.
  float distance(float px, float py) const {
    const float dx = px - x, dy = py - y, c = std::cos(angle), s = std::sin(angle);
    const float u = (c * dx + s * dy) / across, v = (c * dy - s * dx) / along;
    return std::sqrt(u * u + v * v);
  }
};

/// The field: darker towards its rim and at the macula, uneven everywhere.
void paint_field(Canvas& canvas, const Disc& disc, Random& random) {
  const Noise noise{random.bits()};
  const Rgb skin = from_hsv(random.uniform(5, 28), random.uniform(0.55, 0.9), random.uniform(0.45, 0.8));
  const float radius = f(random.uniform(0.47, 0.62)), shade = f(random.uniform(0.3, 0.75));
  const float slope_x = f(random.uniform(-0.5, 0.5)), slope_y = f(random.uniform(-0.5, 0.5));
  const float side = disc.x < 0.5f ? 1.0f : -1.0f;
  const float macula_x = disc.x + side * f(random.uniform(0.25, 0.32)),
              macula_y = disc.y + f(random.uniform(-0.03, 0.06));
  const float mottle = f(random.uniform(0.08, 0.25)), grain = f(random.uniform(6, 20));
  for (int y = 0; y < canvas.side; ++y)
    for (int x = 0; x < canvas.side; ++x) {
      const float px = (f(x) + 0.5f) / f(canvas.side), py = (f(y) + 0.5f) / f(canvas.side);
      const float from_middle = std::hypot(px - 0.5f, py - 0.5f) / radius;
      float light = 1 - shade * from_middle * from_middle + slope_x * (px - 0.5f) + slope_y * (py - 0.5f);
      light *= 1 + mottle * noise.layered(grain * px, grain * py);
      const float macula = std::hypot(px - macula_x, py - macula_y) / 0.09f;
      light *= 1 - 0.4f * std::exp(-macula * macula);
      canvas.at(x, y) = from_middle > 1 ? Rgb{0.02f, 0.02f, 0.02f} : skin * std::max(light, 0.05f);
    }
}

/// Light laid over what is there, fading over the last share `soft` before the rim.
void paint_glow(Canvas& canvas, const Disc& spot, const Rgb& color, float strength, float soft) {
  const float reach = std::max(spot.across, spot.along);
  const auto bound = [&](float at) {
    return std::clamp(static_cast<int>(at * f(canvas.side)), 0, canvas.side - 1);
  };
  for (int y = bound(spot.y - reach); y <= bound(spot.y + reach); ++y)
    for (int x = bound(spot.x - reach); x <= bound(spot.x + reach); ++x) {
      const float d = spot.distance((f(x) + 0.5f) / f(canvas.side), (f(y) + 0.5f) / f(canvas.side));
      const float share = strength * std::clamp((1 - d) / soft, 0.0f, 1.0f);
      canvas.at(x, y) = mix(canvas.at(x, y), color, share);
    }
}

/// One vessel: a wandering line that thins out, dark over what it crosses, and now and then forks.
void paint_vessel(Canvas& canvas, float x, float y, float angle, float width, int steps, Random& random) {
  const float dark = f(random.uniform(0.35, 0.65));
  for (int i = 0; i < steps; ++i) {
    const Disc dot{x, y, width, width, 0};
    paint_glow(canvas, dot, Rgb{0.28f, 0.04f, 0.03f}, dark * 0.55f, 0.6f);
    angle += f(random.uniform(-0.16, 0.16));
    x += 0.6f * width * std::cos(angle);
    y += 0.6f * width * std::sin(angle);
    width *= 0.992f;
    if (width > 0.004f && random.flip(0.02))
      paint_vessel(canvas, x, y, angle + f(random.flip(0.5) ? 0.6 : -0.6), width * 0.7f, steps - i, random);
  }
}

}  // namespace

LabelledImage draw_fundus(int size, uint64_t seed, uint64_t index) {
  ESPALIER_CHECK(size >= 16 && size <= 4096, "size of a drawn picture is ", size,
                 "; it must lie in 16 .. 4096");
  Random random(seed, Purpose::kSynthetic, 101, index);
  Canvas canvas(2 * size);
  const int height = std::max(size * 2 / 3, 1);
  const Box frame{0, (size - height) / 2, size, height};
  // The area as a share of the picture, which is 2/3 of the canvas.
  const double area = random.uniform(0.015, 0.05) * 2 / 3, ratio = random.uniform(0.8, 1.2);
  const float across = f(std::sqrt(area * ratio / std::numbers::pi)),
              along = f(std::sqrt(area / ratio / std::numbers::pi));
  const Disc disc{f(random.uniform(0.2, 0.8)), f(random.uniform(0.32, 0.68)), across, along,
                  f(random.uniform(0, std::numbers::pi))};
  paint_field(canvas, disc, random);
  for (int i = random.below(6); i > 0; --i) {  // spots as bright as the disc, but small
    const float r = f(random.uniform(0.008, 0.03));
    paint_glow(
        canvas,
        {f(random.uniform(0.1, 0.9)), f(random.uniform(0.25, 0.75)), r, r * f(random.uniform(0.5, 1)), 0},
        from_hsv(random.uniform(35, 58), random.uniform(0.2, 0.6), random.uniform(0.7, 1)),
        f(random.uniform(0.5, 0.95)), 0.5f);
  }
  if (random.flip(0.5)) {  // a reflection: large, bright and without a rim
    const float r = f(random.uniform(0.12, 0.25));
    paint_glow(canvas,
               {f(random.uniform(0, 1)), f(random.uniform(0.2, 0.8)), r, r * 0.6f, f(random.uniform(0, 3))},
               {0.95f, 0.85f, 0.7f}, f(random.uniform(0.15, 0.45)), 1);
  }
  const Rgb pale = from_hsv(random.uniform(28, 52), random.uniform(0.25, 0.6), random.uniform(0.75, 1));
  paint_glow(canvas, disc, pale, f(random.uniform(0.55, 0.9)), f(random.uniform(0.15, 0.35)));
  Disc cup = disc;
  const float part = f(random.uniform(0.3, 0.55));
  cup.across *= part;
  cup.along *= part;
  cup.x += disc.across * f(random.uniform(-0.2, 0.2));
  paint_glow(canvas, cup, {1, 0.97f, 0.85f}, f(random.uniform(0.2, 0.8)), 0.5f);
  for (int i = 5 + random.below(4); i > 0; --i)
    paint_vessel(canvas, disc.x + disc.across * f(random.uniform(-0.3, 0.3)),
                 disc.y + disc.along * f(random.uniform(-0.3, 0.3)),
                 f(random.uniform(0, 2 * std::numbers::pi)), f(random.uniform(0.006, 0.012)), 160, random);

  LabelledImage sample;
  sample.image = develop(canvas, random);
  sample.mask = {size, size, std::vector<uint8_t>(static_cast<size_t>(size) * size)};
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x)
      sample.mask.classes[static_cast<size_t>(y) * size + x] =
          disc.distance((f(x) + 0.5f) / f(size), (f(y) + 0.5f) / f(size)) <= 1;
  crop(sample, frame);
  sample.settle();
  sample.to_network = {};
  return sample;
}

}  // namespace espalier
