#include "datasets/drawing.h"

#include <algorithm>
#include <cmath>

namespace espalier {

namespace {

float lattice(uint32_t seed, int x, int y) {
  uint32_t h = seed ^ (static_cast<uint32_t>(x) * 0x8DA6B343u) ^ (static_cast<uint32_t>(y) * 0xD8163841u);
  h = (h ^ (h >> 15)) * 0x2C1B3C6Du;
  h = (h ^ (h >> 12)) * 0x297A2D39u;
  return static_cast<float>((h ^ (h >> 15)) >> 8) * 0x1p-23f - 1.0f;
}

struct Surface {
  float height = -1;    ///< above the ground; negative outside
  float along, around;  ///< -1 .. 1 along the axis; angle around it in -pi/2 .. pi/2
};

/// The body at (u, v), coordinates along and across its axis, 1 being the half length.
Surface surface(const Body& body, float u, float v) {
  if (body.rough > 0) {
    u += body.rough * body.noise(1.7f * u + 3, 1.7f * v);
    v += body.rough * body.noise(1.7f * u, 1.7f * v + 9);
  }
  Surface s;
  if (std::abs(u) >= 1) return s;
  const float width =
      body.width * (1 + body.taper * u) * std::pow(1 - std::pow(std::abs(u), body.power), 1 / body.power);
  const float t = width > 1e-4f ? (v - body.bend * (u * u - 0.4f)) / width : 2;
  if (std::abs(t) >= 1) return s;
  s.along = u;
  s.around = std::asin(t);
  s.height = width * std::sqrt(1 - t * t);
  if (body.ribs > 0)
    s.height *= 1 + body.rib_depth * (std::cos(s.around * static_cast<float>(body.ribs)) - 1);
  return s;
}

Rgb skin_color(const Body& body, const Surface& s) {
  const auto& n = body.noise;
  Rgb color = body.skin * (1 + 0.18f * n.layered(3 * s.along, 2 * s.around));
  if (body.stripes > 0) {
    const float wave = std::cos(s.around * (body.ribs > 0 ? 2.0f * static_cast<float>(body.ribs) : 12.0f) +
                                2 * n(2 * s.along, s.around));
    color = mix(color, body.second, body.stripes * std::max(0.0f, wave));
  }
  if (body.rings > 0) {
    const float wave = std::sin(17 * s.along + 3 * n(4 * s.along, 2 * s.around + 5));
    color = mix(color, body.second, body.rings * std::clamp(6 * wave - 5, 0.0f, 1.0f));
  }
  if (body.speckles > 0)
    color = mix(color, body.second,
                body.speckles * std::clamp(5 * n(14 * s.along, 9 * s.around) - 2.2f, 0.0f, 1.0f));
  if (body.fade > 0) {
    const float share = 0.5f - 0.5f * s.along + 0.25f * n(2 * s.along, 3 * s.around);
    color = mix(color, body.second, body.fade * std::clamp(share * 1.6f - 0.4f, 0.0f, 1.0f));
  }
  return color;
}

}  // namespace

Rgb from_hsv(double hue, double saturation, double value) {
  const auto channel = [&](double offset) {
    const double k = std::fmod(offset + hue / 60 + 12, 6);
    return static_cast<float>(value - value * saturation * std::clamp(std::min(k, 4 - k), 0.0, 1.0));
  };
  return {channel(5), channel(3), channel(1)};
}

float Noise::operator()(float x, float y) const {
  const float fx = std::floor(x), fy = std::floor(y);
  const int ix = static_cast<int>(fx), iy = static_cast<int>(fy);
  float u = x - fx, v = y - fy;
  u = u * u * (3 - 2 * u);
  v = v * v * (3 - 2 * v);
  const float upper = lattice(seed, ix, iy) * (1 - u) + lattice(seed, ix + 1, iy) * u;
  const float lower = lattice(seed, ix, iy + 1) * (1 - u) + lattice(seed, ix + 1, iy + 1) * u;
  return upper * (1 - v) + lower * v;
}

float Noise::layered(float x, float y) const {
  return ((*this)(x, y) + 0.5f * (*this)(2.1f * x, 2.1f * y) + 0.25f * (*this)(4.3f * x, 4.3f * y)) / 1.75f;
}

void Extent::add(int x, int y) { add({x, y, x + 1, y + 1}); }

void Extent::add(const Extent& other) {
  left = std::min(left, other.left), right = std::max(right, other.right);
  top = std::min(top, other.top), bottom = std::max(bottom, other.bottom);
}

Extent paint(Canvas& canvas, const Body& body, const Light& light) {
  Extent covered;
  const float cosine = std::cos(body.angle), sine = std::sin(body.angle);
  const float side = static_cast<float>(canvas.side);
  const float reach =
      body.half * (1.15f + std::max(body.width * (1 + std::abs(body.taper)), 0.0f) + body.rough);
  const auto bound = [&](float at) { return std::clamp(static_cast<int>(at * side), 0, canvas.side - 1); };
  for (int y = bound(body.y - reach); y <= bound(body.y + reach); ++y)
    for (int x = bound(body.x - reach); x <= bound(body.x + reach); ++x) {
      const float dx = ((static_cast<float>(x) + 0.5f) / side - body.x) / body.half,
                  dy = ((static_cast<float>(y) + 0.5f) / side - body.y) / body.half;
      const float u = cosine * dx + sine * dy, v = cosine * dy - sine * dx;
      const Surface here = surface(body, u, v);
      if (here.height < 0) continue;
      constexpr float kStep = 0.02f;
      const auto height = [&](float du, float dv) {
        return std::max(surface(body, u + du, v + dv).height, 0.0f);
      };
      // The slope along and across, turned into the picture's axes, is the normal's tilt.
      const float su = (height(kStep, 0) - height(-kStep, 0)) / (2 * kStep),
                  sv = (height(0, kStep) - height(0, -kStep)) / (2 * kStep);
      const float nx = -(cosine * su - sine * sv), ny = -(sine * su + cosine * sv);
      const float length = std::sqrt(nx * nx + ny * ny + 1);
      const float facing = std::max(0.0f, (nx * light.to[0] + ny * light.to[1] + light.to[2]) / length);
      const Rgb color = skin_color(body, here) * (light.ambient + (1 - light.ambient) * facing);
      const float shine = body.gloss * std::pow(facing, 24.0f) * 0.6f;
      canvas.at(x, y) = color + Rgb{shine, shine, shine};
      covered.add(x, y);
    }
  return covered;
}

}  // namespace espalier
