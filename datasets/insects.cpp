// Draws pictures of insects and says where they are. A kind is a row of ranges; a picture draws from them.

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "datasets/scene.h"
#include "datasets/synthetic.h"
#include "tasks/nms.h"

namespace espalier {

namespace {

/// Lengths are shares of the half length of the whole animal.
struct Kind {
  const char* name;
  ColorRange skin, second;  ///< `second`: rings, speckles, head
  Range width;              ///< half width of the abdomen
  double abdomen, thorax;   ///< half lengths; the head takes the rest
  double bend, rings, speckles, gloss;
  int ribs;
  double legs;   ///< length; 0: none
  double wings;  ///< length; 0: none that show
};

constexpr ColorRange kBlack = {{0, 360}, {0, 0.4}, {0.05, 0.25}};
constexpr ColorRange kRust = {{8, 28}, {0.5, 0.9}, {0.2, 0.5}};

// clang-format off
constexpr Kind kKinds[] = {
    // name, skin, second, width, abdomen, thorax, bend, rings, speckles, gloss, ribs, legs, wings
    {"beetle", {{10, 150}, {0.2, 0.7}, {0.12, 0.4}}, kBlack, {0.6, 0.8}, 0.66, 0.22, 0, 0, 0.1, 0.9, 3, 0.5, 0},
    {"ladybird", {{-8, 30}, {0.75, 0.95}, {0.55, 0.9}}, kBlack, {0.85, 1.0}, 0.72, 0.2, 0, 0, 0.95, 0.8, 0, 0.3, 0},
    {"wasp", {{38, 55}, {0.75, 0.95}, {0.65, 0.95}}, kBlack, {0.32, 0.45}, 0.5, 0.26, 0.05, 0.95, 0, 0.4, 0, 0.55, 0.8},
    {"ant", kRust, kBlack, {0.3, 0.42}, 0.36, 0.28, 0, 0.2, 0, 0.5, 0, 0.85, 0},
    {"caterpillar", {{60, 130}, {0.4, 0.85}, {0.35, 0.75}}, {{30, 80}, {0.4, 0.9}, {0.2, 0.9}}, {0.2, 0.3}, 0.9, 0, 0.35, 0.6,
     0.4, 0.2, 0, 0, 0},
    {"fly", {{180, 260}, {0.05, 0.4}, {0.15, 0.4}}, kRust, {0.5, 0.65}, 0.45, 0.3, 0, 0.3, 0.2, 0.5, 0, 0.5, 0.75},
};
// clang-format on

float f(double value) { return static_cast<float>(value); }

/// The parts of one animal, legs and wings below the trunk. u runs along the axis, towards the head.
std::vector<Body> parts_of(const Kind& kind, float x, float y, float half, float angle, Random& random) {
  const float cosine = std::cos(angle), sine = std::sin(angle);
  const Rgb skin = kind.skin.draw(random), second = kind.second.draw(random);
  std::vector<Body> parts;
  const auto add = [&](double u, double v, double length, double width, double turn,
                       const Rgb& color) -> Body& {
    parts.push_back({.x = x + half * (cosine * f(u) - sine * f(v)),
                     .y = y + half * (sine * f(u) + cosine * f(v)),
                     .angle = angle + f(turn),
                     .half = half * f(length),
                     .width = f(width),
                     .power = 2,
                     .skin = color,
                     .second = second,
                     .noise = {random.bits()}});
    return parts.back();
  };
  const double head = std::max(0.12, 1 - kind.abdomen - kind.thorax);
  const double abdomen_at = -1 + kind.abdomen, thorax_at = -1 + 2 * kind.abdomen + kind.thorax * 0.8;
  if (kind.legs > 0)
    for (int pair = -1; pair <= 1; ++pair)
      for (const int side : {-1, 1}) {
        const double turn = side * (std::numbers::pi / 2 - 0.45 * pair + random.uniform(-0.25, 0.25));
        const double middle = kind.legs * 0.6;
        Body& leg = add(thorax_at - 0.25 + 0.15 * pair + std::cos(turn) * middle, std::sin(turn) * middle,
                        kind.legs / 2, 0.09, turn, second);
        leg.bend = f(random.uniform(-0.3, 0.3));
      }
  const float width = f(kind.width.draw(random));
  Body& abdomen = add(abdomen_at, 0, kind.abdomen, width, 0, skin);
  abdomen.taper = f(random.uniform(-0.15, 0.1));
  abdomen.power = f(random.uniform(2, 2.6));
  abdomen.bend = f(random.uniform(-kind.bend, kind.bend));
  abdomen.rings = f(kind.rings);
  abdomen.speckles = f(kind.speckles);
  abdomen.gloss = f(kind.gloss);
  abdomen.ribs = kind.ribs;
  abdomen.rib_depth = kind.ribs ? 0.05f : 0;
  if (kind.thorax > 0) add(thorax_at, 0, kind.thorax, random.uniform(0.7, 0.95), 0, mix(skin, second, 0.5f));
  add(1 - head, 0, head, random.uniform(0.8, 1.1), 0, second);
  if (kind.wings > 0)
    for (const int side : {-1, 1}) {
      const double turn = std::numbers::pi - side * random.uniform(0.25, 0.7);
      add(thorax_at + std::cos(turn) * kind.wings, std::sin(turn) * kind.wings, kind.wings,
          random.uniform(0.22, 0.32), turn,
          from_hsv(random.uniform(30, 220), random.uniform(0.02, 0.15), random.uniform(0.6, 0.9)));
    }
  return parts;
}

/// A leaf or a twig: what insects sit on, and are not.
void paint_plant(Canvas& canvas, Random& random, const Light& light) {
  Body leaf{.x = f(random.uniform(0, 1)),
            .y = f(random.uniform(0, 1)),
            .angle = f(random.uniform(0, 2 * std::numbers::pi)),
            .half = f(random.uniform(0.12, 0.4))};
  leaf.width = f(random.flip(0.3) ? random.uniform(0.03, 0.07) : random.uniform(0.25, 0.5));
  leaf.power = f(random.uniform(1.2, 2));
  leaf.bend = f(random.uniform(-0.3, 0.3));
  leaf.rough = f(random.uniform(0, 0.1));
  leaf.skin = from_hsv(random.uniform(25, 140), random.uniform(0.3, 0.85), random.uniform(0.15, 0.7));
  leaf.second = leaf.skin * 0.6f;
  leaf.stripes = f(random.uniform(0, 0.6));
  leaf.fade = f(random.uniform(0, 0.6));
  leaf.noise.seed = random.bits();
  paint(canvas, leaf, light);
}

}  // namespace

const std::vector<std::string>& insect_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Kind& kind : kKinds) all.push_back(kind.name);
    return all;
  }();
  return names;
}

LabelledImage draw_insects(int classes, int size, uint64_t seed, uint64_t index) {
  constexpr int kCount = static_cast<int>(std::size(kKinds));
  ESPALIER_CHECK(classes >= 1 && classes <= kCount, "classes of drawn insects are ", classes, "; 1 .. ",
                 kCount, " are known");
  ESPALIER_CHECK(size >= 16 && size <= 4096, "size of a drawn picture is ", size,
                 "; it must lie in 16 .. 4096");
  Random random(seed, Purpose::kSynthetic, 100, index);
  Canvas canvas(2 * size);
  paint_background(canvas, random);
  const Light light = draw_light(random);
  for (int i = random.below(5); i > 0; --i) paint_plant(canvas, random, light);
  for (int i = random.below(3); i > 0; --i) paint_patch(canvas, random, 0.2);

  const Box frame{0, size / 8, size, std::max(size * 3 / 4, 1)};
  const float upper = f(frame.y) / f(size), lower = f(frame.y + frame.height) / f(size);
  LabelledImage sample;
  const int wanted = 1 + random.below(6);
  for (int attempt = 0; attempt < 4 * wanted && static_cast<int>(sample.boxes.size()) < wanted; ++attempt) {
    const int kind = random.below(classes);
    const float half = f(0.06 * std::pow(3.2, random.uniform()));
    const float x = f(random.uniform(0.04, 0.96)), y = f(random.uniform(upper + 0.03, lower - 0.03));
    const float angle = f(random.uniform(0, 2 * std::numbers::pi));
    Canvas with = canvas;
    Extent extent;
    for (const Body& part : parts_of(kKinds[kind], x, y, half, angle, random))
      extent.add(paint(with, part, light));
    if (extent.empty()) continue;
    ObjectBox box{.x0 = f(extent.left) / 2,
                  .y0 = f(extent.top) / 2,
                  .x1 = f(extent.right) / 2,
                  .y1 = f(extent.bottom) / 2,
                  .label = kind};
    const std::vector<ObjectBox> visible = boxes_within({box}, frame);
    const auto touches = [&](const ObjectBox& other) { return overlap_of(box, other) > 0.1; };
    if (visible.empty() || std::any_of(sample.boxes.begin(), sample.boxes.end(), touches)) continue;
    canvas = std::move(with);
    sample.boxes.push_back(visible[0]);
  }
  if (random.flip(0.3)) paint_patch(canvas, random, 0.1);
  sample.image = develop(canvas, random);
  crop(sample, frame);
  sample.settle();
  sample.to_network = {};
  return sample;
}

}  // namespace espalier
