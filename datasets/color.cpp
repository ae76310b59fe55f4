// Changes of colour: brightness, contrast, saturation and hue as one affine map.

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "datasets/transforms.h"

namespace espalier {

namespace {

constexpr int kC = Image::kChannels;
constexpr double kLuma[3] = {0.299, 0.587, 0.114};  // ITU-R BT.601

/// A 3x3 matrix and a shift, composed in double: v -> matrix * v + shift.
struct ColorMap {
  std::array<std::array<double, 3>, 3> matrix{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  std::array<double, 3> shift{};

  std::array<double, 3> operator()(const std::array<double, 3>& v) const {
    std::array<double, 3> out = shift;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) out[i] += matrix[i][j] * v[j];
    return out;
  }
  /// First this, then `next`.
  ColorMap then(const ColorMap& next) const {
    ColorMap both;
    both.shift = next(shift);
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) {
        both.matrix[i][j] = 0;
        for (int k = 0; k < 3; ++k) both.matrix[i][j] += next.matrix[i][k] * matrix[k][j];
      }
    return both;
  }
};

double luma(const std::array<double, 3>& v) { return kLuma[0] * v[0] + kLuma[1] * v[1] + kLuma[2] * v[2]; }

ColorMap scale_map(double factor) {
  ColorMap map;
  for (int i = 0; i < 3; ++i) map.matrix[i][i] = factor;
  return map;
}

ColorMap saturation_map(double factor) {
  ColorMap map = scale_map(factor);
  for (auto& row : map.matrix)
    for (int j = 0; j < 3; ++j) row[j] += (1 - factor) * kLuma[j];
  return map;
}

/// A turn of the plane of I and Q, the chroma axes of NTSC, about the grey axis. `to` and `from` are inverse
/// to 1e-15.
ColorMap hue_map(double degrees) {
  constexpr double i[3] = {0.595716, -0.274453, -0.321263}, q[3] = {0.211456, -0.522591, 0.311135};
  const double cosine = std::cos(degrees * std::numbers::pi / 180),
               sine = std::sin(degrees * std::numbers::pi / 180);
  ColorMap to;
  to.matrix = {{{kLuma[0], kLuma[1], kLuma[2]}, {i[0], i[1], i[2]}, {q[0], q[1], q[2]}}};
  ColorMap turn;
  turn.matrix = {{{1, 0, 0}, {0, cosine, -sine}, {0, sine, cosine}}};
  ColorMap from;
  const auto& m = to.matrix;
  const auto minor = [&](int r, int c) {
    const int r1 = (r + 1) % 3, r2 = (r + 2) % 3, c1 = (c + 1) % 3, c2 = (c + 2) % 3;
    return m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1];
  };
  const double determinant = m[0][0] * minor(0, 0) + m[0][1] * minor(0, 1) + m[0][2] * minor(0, 2);
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 3; ++c) from.matrix[c][r] = minor(r, c) / determinant;
  return to.then(turn).then(from);
}

std::array<double, 3> mean_color(const Image& image) {
  std::array<uint64_t, 3> sum{};
  const size_t count = static_cast<size_t>(image.width) * image.height;
  const uint8_t* p = image.pixels.data();
  for (size_t i = 0; i < count; ++i, p += kC)
    for (int c = 0; c < 3; ++c) sum[c] += p[c];
  std::array<double, 3> mean;
  for (int c = 0; c < 3; ++c) mean[c] = static_cast<double>(sum[c]) / static_cast<double>(count);
  return mean;
}

}  // namespace

void change_color(Image& image, const ColorChange& change, const std::string& order) {
  // The four are affine and nothing is rounded between them, so they are one map; the mean that contrast
  // needs is the map of the picture's mean.
  const std::array<double, 3> mean = mean_color(image);
  ColorMap map;
  for (const char step : order) {
    if (step == 'b' && change.brightness != 1) map = map.then(scale_map(change.brightness));
    if (step == 's' && change.saturation != 1) map = map.then(saturation_map(change.saturation));
    if (step == 'h' && change.hue_degrees != 0) map = map.then(hue_map(change.hue_degrees));
    if (step == 'c' && change.contrast != 1) {
      ColorMap contrast = scale_map(change.contrast);
      contrast.shift.fill((1 - change.contrast) * luma(map(mean)));
      map = map.then(contrast);
    }
  }
  float m[3][3], shift[3];
  for (int i = 0; i < 3; ++i) {
    shift[i] = static_cast<float>(map.shift[i]) + 0.5f;
    for (int j = 0; j < 3; ++j) m[i][j] = static_cast<float>(map.matrix[i][j]);
  }
  uint8_t* p = image.pixels.data();
  const size_t count = static_cast<size_t>(image.width) * image.height;
  for (size_t i = 0; i < count; ++i, p += kC) {
    const float r = p[0], g = p[1], b = p[2];
    for (int c = 0; c < 3; ++c) {
      const float v = m[c][0] * r + m[c][1] * g + m[c][2] * b + shift[c];
      p[c] = static_cast<uint8_t>(std::clamp(v, 0.0f, 255.0f));
    }
  }
}

}  // namespace espalier
