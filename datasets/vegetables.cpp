// Draws one vegetable picture. A kind is a row of ranges; a picture draws from them.

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/random.h"
#include "datasets/scene.h"
#include "datasets/synthetic.h"

namespace espalier {

namespace {

enum class Top { kNone, kLeaves, kCalyx, kStem, kCap, kBlades };

/// One kind: what its pictures are drawn from. Lengths are shares of the object's own half length.
struct Kind {
  const char* name;
  ColorRange skin, second;  ///< `second`: stripes, rings, speckles and the far end
  Range width, taper,
      power;           ///< half width; its change along the axis; roundness of the ends (2: an ellipse)
  double bend, rough;  ///< of the axis; of the outline
  int ribs;            ///< ridges from end to end
  double rib_depth, stripes, rings, speckles, fade, gloss;
  Top top;
  int most;  ///< objects in a picture
};

constexpr ColorRange kGreen = {{85, 130}, {0.45, 0.85}, {0.25, 0.6}};
constexpr ColorRange kDarkGreen = {{95, 140}, {0.5, 0.9}, {0.15, 0.4}};
constexpr ColorRange kCream = {{35, 60}, {0.05, 0.3}, {0.75, 0.98}};
constexpr ColorRange kBrown = {{20, 42}, {0.35, 0.65}, {0.4, 0.75}};

// clang-format off
constexpr Kind kKinds[] = {
    // name, skin, second, width, taper, power, bend, rough, ribs, depth, stripes, rings, speckles, fade, gloss, top, most
    {"carrot", {{14, 32}, {0.7, 0.95}, {0.65, 0.95}}, {{16, 30}, {0.6, 0.9}, {0.4, 0.6}},
     {0.16, 0.3}, {-0.75, -0.4}, {2.5, 5}, 0.12, 0.04, 0, 0, 0, 0.5, 0.1, 0, 0.2, Top::kLeaves, 3},
    {"cucumber", kDarkGreen, kGreen,
     {0.15, 0.25}, {-0.12, 0.12}, {3, 6}, 0.18, 0.02, 0, 0, 0.15, 0, 0.5, 0.1, 0.35, Top::kNone, 3},
    {"tomato", {{-6, 22}, {0.75, 0.97}, {0.5, 0.92}}, {{20, 75}, {0.6, 0.9}, {0.5, 0.8}},
     {0.82, 1.1}, {-0.1, 0.1}, {2, 2.5}, 0, 0.04, 5, 0.05, 0, 0, 0, 0.25, 0.8, Top::kCalyx, 3},
    {"potato", {{28, 46}, {0.3, 0.6}, {0.5, 0.85}}, kBrown,
     {0.55, 0.85}, {-0.25, 0.25}, {2, 2.6}, 0.06, 0.14, 0, 0, 0, 0, 0.55, 0, 0.1, Top::kNone, 4},
    {"pepper", {{-5, 120}, {0.75, 0.97}, {0.45, 0.9}}, {{20, 110}, {0.6, 0.9}, {0.4, 0.8}},
     {0.58, 0.9}, {-0.35, -0.05}, {2.6, 4}, 0.05, 0.07, 4, 0.3, 0, 0, 0, 0.25, 0.9, Top::kStem, 2},
    {"aubergine", {{265, 310}, {0.4, 0.8}, {0.12, 0.35}}, {{275, 320}, {0.4, 0.7}, {0.3, 0.5}},
     {0.32, 0.55}, {0.2, 0.5}, {2.2, 3}, 0.12, 0.02, 0, 0, 0.05, 0, 0, 0.1, 0.9, Top::kCalyx, 2},
    {"zucchini", {{85, 135}, {0.45, 0.85}, {0.2, 0.55}}, {{70, 110}, {0.3, 0.6}, {0.5, 0.75}},
     {0.16, 0.28}, {-0.05, 0.28}, {4, 9}, 0.1, 0.02, 6, 0.1, 0.35, 0, 0.35, 0, 0.4, Top::kStem, 3},
    {"onion", {{22, 48}, {0.45, 0.85}, {0.5, 0.9}}, {{10, 35}, {0.4, 0.7}, {0.35, 0.65}},
     {0.8, 1.05}, {-0.3, 0.0}, {1.7, 2.2}, 0, 0.04, 11, 0.03, 0.45, 0, 0.1, 0.2, 0.4, Top::kStem, 3},
    {"mushroom", {{25, 48}, {0.08, 0.4}, {0.55, 0.95}}, kBrown,
     {0.85, 1.15}, {-0.1, 0.1}, {1.9, 2.4}, 0, 0.05, 0, 0, 0, 0, 0.3, 0, 0.15, Top::kCap, 4},
    {"beetroot", {{325, 358}, {0.45, 0.85}, {0.22, 0.5}}, {{330, 365}, {0.3, 0.6}, {0.3, 0.5}},
     {0.7, 1.0}, {-0.45, -0.1}, {1.9, 2.4}, 0, 0.08, 0, 0, 0, 0.35, 0.35, 0, 0.15, Top::kLeaves, 3},
    {"garlic", {{30, 60}, {0.03, 0.2}, {0.75, 0.98}}, {{290, 345}, {0.1, 0.35}, {0.6, 0.85}},
     {0.85, 1.1}, {-0.45, -0.1}, {1.7, 2.1}, 0, 0.05, 7, 0.22, 0.15, 0, 0, 0.1, 0.2, Top::kStem, 4},
    {"leek", {{45, 70}, {0.05, 0.25}, {0.8, 0.97}}, kGreen,
     {0.1, 0.17}, {-0.05, 0.15}, {5, 10}, 0.08, 0.01, 0, 0, 0.3, 0, 0, 0.9, 0.25, Top::kBlades, 4},
    {"ginger", {{30, 46}, {0.3, 0.6}, {0.55, 0.85}}, kBrown,
     {0.35, 0.6}, {-0.3, 0.3}, {2, 3}, 0.3, 0.28, 0, 0, 0, 0.6, 0.3, 0, 0.1, Top::kNone, 4},
    {"cabbage", {{75, 115}, {0.25, 0.6}, {0.5, 0.85}}, {{65, 90}, {0.08, 0.3}, {0.75, 0.95}},
     {0.88, 1.1}, {-0.1, 0.1}, {2, 2.4}, 0, 0.07, 9, 0.12, 0.45, 0, 0.15, 0.1, 0.2, Top::kNone, 1},
    {"asparagus", {{70, 110}, {0.35, 0.7}, {0.4, 0.75}}, {{255, 330}, {0.15, 0.4}, {0.35, 0.6}},
     {0.05, 0.09}, {0.0, 0.3}, {3, 6}, 0.05, 0.01, 0, 0, 0, 0.35, 0.2, 0.5, 0.2, Top::kNone, 7},
};
// clang-format on

float f(double value) { return static_cast<float>(value); }

/// The object itself, then what grows at its end.
std::vector<Body> draw_object(const Kind& kind, float x, float y, float half, float angle, Random& random) {
  Body body{.x = x, .y = y, .angle = angle, .half = half};
  body.noise.seed = random.bits();
  body.skin = kind.skin.draw(random);
  body.second = kind.second.draw(random);
  body.width = f(kind.width.draw(random));
  body.taper = f(kind.taper.draw(random));
  body.power = f(kind.power.draw(random));
  body.bend = f(random.uniform(-kind.bend, kind.bend));
  body.rough = f(kind.rough * random.uniform(0.5, 1.5));
  body.ribs = kind.ribs;
  const auto varied = [&](double value) { return f(value * random.uniform(0.3, 1.2)); };
  body.rib_depth = varied(kind.rib_depth);
  body.stripes = varied(kind.stripes);
  body.rings = varied(kind.rings);
  body.speckles = varied(kind.speckles);
  body.fade = varied(kind.fade);
  body.gloss = varied(kind.gloss);

  std::vector<Body> parts = {body};
  // The end where it grew, at u = -1. Shops often cut it off.
  const float ex = x - half * std::cos(angle), ey = y - half * std::sin(angle);
  const bool cut = random.flip(0.35);
  const Rgb green = kGreen.draw(random);
  const auto add = [&](float turn, float length, float width, float bend, const Rgb& color, float offset) {
    const float a = angle + turn, reach = half * length;
    Body part{.x = ex - (reach - offset * half) * std::cos(a),
              .y = ey - (reach - offset * half) * std::sin(a),
              .angle = a,
              .half = reach,
              .width = width,
              .taper = 0,
              .power = 2.2f,
              .bend = bend,
              .rough = 0.05f};
    part.skin = color * f(random.uniform(0.8, 1.2));
    part.second = color;
    part.noise.seed = random.bits();
    parts.push_back(part);
  };
  switch (cut && kind.top != Top::kCap ? Top::kNone : kind.top) {
    case Top::kLeaves:
      for (int i = 3 + random.below(4); i > 0; --i)
        add(f(random.uniform(-0.6, 0.6)), f(random.uniform(0.25, 0.5)), f(random.uniform(0.1, 0.25)),
            f(random.uniform(-0.3, 0.3)), green, 0.05f);
      break;
    case Top::kCalyx:
      for (int i = 0; i < 5; ++i)
        add(f(-1.3 + 0.65 * i + random.uniform(-0.15, 0.15)), f(random.uniform(0.14, 0.22)), 0.3f, 0.1f,
            green, 0.3f);
      break;
    case Top::kStem:
      add(f(random.uniform(-0.3, 0.3)), f(random.uniform(0.1, 0.22)), f(random.uniform(0.25, 0.4)), 0.05f,
          mix(green, body.skin, f(random.uniform(0.0, 0.8))), 0.1f);
      break;
    case Top::kCap: {
      const float length = f(random.uniform(0.35, 0.7));
      add(f(random.uniform(-0.2, 0.2)), length, f(random.uniform(0.35, 0.65)), 0.05f, kCream.draw(random),
          0.45f);
      std::swap(parts[0], parts[1]);  // the cap hides the upper end of its stem
      break;
    }
    case Top::kBlades:
      for (int i = 2 + random.below(3); i > 0; --i)
        add(f(random.uniform(-0.35, 0.35)), f(random.uniform(0.35, 0.6)), f(random.uniform(0.12, 0.2)),
            f(random.uniform(-0.2, 0.2)), green, 0.2f);
      break;
    case Top::kNone:
      break;
  }
  return parts;
}

}  // namespace

const std::vector<std::string>& vegetable_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Kind& kind : kKinds) all.push_back(kind.name);
    return all;
  }();
  return names;
}

Image draw_vegetable(int kind, int size, uint64_t seed, uint64_t index) {
  constexpr int kCount = static_cast<int>(std::size(kKinds));
  ESPALIER_CHECK(kind >= 0 && kind < kCount, "vegetable kind is ", kind, "; 0 .. ", kCount - 1, " are known");
  ESPALIER_CHECK(size >= 16 && size <= 4096, "size of a drawn picture is ", size,
                 "; it must lie in 16 .. 4096");
  Random random(seed, Purpose::kSynthetic, static_cast<uint64_t>(kind), index);
  Canvas canvas(2 * size);
  paint_background(canvas, random);
  const Light light = draw_light(random);

  const auto place = [&](const Kind& what, double reach, double smallest, double largest) {
    const float angle = f(random.uniform(0, 2 * std::numbers::pi));
    const float x = f(0.5 + random.uniform(-reach, reach)), y = f(0.5 + random.uniform(-reach, reach));
    // Thin things are shown longer, round ones shorter, so that all fill about the same area.
    const double area = std::sqrt(0.35 / std::max(what.width.high, 0.12));
    const float half = f(random.uniform(smallest, largest) * std::min(area, 1.6));
    for (const Body& body : draw_object(what, x, y, half, angle, random)) paint(canvas, body, light);
  };
  for (int i = random.below(3); i > 0; --i) paint_patch(canvas, random, 0.25);
  // Something of another kind lies further away.
  if (random.flip(0.3)) place(kKinds[(kind + 1 + random.below(kCount - 1)) % kCount], 0.45, 0.1, 0.2);
  for (int i = 1 + random.below(kKinds[kind].most); i > 0; --i) place(kKinds[kind], 0.15, 0.26, 0.48);
  if (random.flip(0.5)) paint_patch(canvas, random, 0.15);
  return develop(canvas, random);
}

}  // namespace espalier
