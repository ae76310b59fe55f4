#pragma once
// The painter behind the synthetic pictures. Everything is a body: an axis with a width that changes along
// it, shaded as if round, with ribs, stripes, rings and speckles on its skin.

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace espalier {

/// Light, not yet 8 bits: 1 is white.
struct Rgb {
  float r = 0, g = 0, b = 0;
  friend Rgb operator*(const Rgb& c, float f) { return {c.r * f, c.g * f, c.b * f}; }
  friend Rgb operator+(const Rgb& a, const Rgb& b) { return {a.r + b.r, a.g + b.g, a.b + b.b}; }
};

inline Rgb mix(const Rgb& a, const Rgb& b, float share) { return a * (1 - share) + b * share; }

/// Hue in degrees, saturation and value in 0 .. 1.
Rgb from_hsv(double hue, double saturation, double value);

/// Smooth noise in -1 .. 1: random values on a lattice, blended.
struct Noise {
  uint32_t seed;
  float operator()(float x, float y) const;
  float layered(float x, float y) const;  ///< three octaves
};

/// What is drawn: a body at (x, y), turned by `angle`; everything in shares of the picture's side.
struct Body {
  float x, y, angle, half;  ///< half: of the length
  float width, taper, power, bend, rough;
  Rgb skin, second;
  int ribs = 0;
  float rib_depth = 0, stripes = 0, rings = 0, speckles = 0, fade = 0, gloss = 0;
  Noise noise{0};
};

struct Light {
  std::array<float, 3> to;  ///< unit vector towards it; z towards the viewer
  float ambient;
};

/// Drawn at twice the size and averaged down: edges are smooth.
struct Canvas {
  int side;
  std::vector<Rgb> pixels;
  explicit Canvas(int side) : side(side), pixels(static_cast<size_t>(side) * side) {}
  Rgb& at(int x, int y) { return pixels[static_cast<size_t>(y) * side + x]; }
};

/// The pixels of a canvas that something covers; nothing while right <= left.
struct Extent {
  int left = INT32_MAX, top = INT32_MAX, right = 0, bottom = 0;
  bool empty() const { return right <= left; }
  void add(int x, int y);
  void add(const Extent& other);
};

/// Draws the body over what is there; returns what it covers.
Extent paint(Canvas& canvas, const Body& body, const Light& light);

}  // namespace espalier
