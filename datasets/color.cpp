// Changes of colour: brightness, contrast, saturation and hue as one affine map.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
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
  // Sixteen pixels side by side, so that whole vectors are added; 16 bits hold 257 bytes.
  constexpr size_t kSide = 16 * kC, kMost = 257 * kSide;
  std::array<uint64_t, kSide> sum{};
  const uint8_t* p = image.pixels.data();
  const size_t size = image.pixels.size();
  for (size_t first = 0; first < size; first += kMost) {
    std::array<uint16_t, kSide> part{};
    const size_t end = std::min(size, first + kMost), whole = first + (end - first) / kSide * kSide;
    for (size_t i = first; i < whole; i += kSide)
      for (size_t k = 0; k < kSide; ++k) part[k] = static_cast<uint16_t>(part[k] + p[i + k]);
    for (size_t k = 0; k < kSide; ++k) sum[k] += part[k];
    for (size_t i = whole; i < end; ++i) sum[i - whole] += p[i];
  }
  const double count = static_cast<double>(image.width) * image.height;
  std::array<double, 3> mean{};
  for (int c = 0; c < kC; ++c) {
    uint64_t of_channel = 0;
    for (size_t k = c; k < kSide; k += kC) of_channel += sum[k];
    mean[c] = static_cast<double>(of_channel) / count;
  }
  return mean;
}

/// A ColorMap rounded to floats, half of a step added for the rounding of pixels.
struct PixelChange {
  float matrix[3][3], shift[3];
};

constexpr size_t kPixels = 8;  // one vector of AVX2
typedef uint8_t Bytes __attribute__((vector_size(16)));
typedef int64_t Halves __attribute__((vector_size(16)));
typedef int64_t Quarters __attribute__((vector_size(32)));
typedef int32_t Ints __attribute__((vector_size(32)));
typedef float Floats __attribute__((vector_size(32)));

/// Changes kPixels pixels.
inline void change_pixels(uint8_t* p, const PixelChange& change) {
  // To a pixel in each 32 bits; what is in their last byte does not matter.
  Bytes left, right;
  std::memcpy(&left, p, sizeof left);
  std::memcpy(&right, p + 8, sizeof right);
  left = __builtin_shufflevector(left, left, 0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 8, 0, 9, 10, 11, 0);
  right = __builtin_shufflevector(right, right, 4, 5, 6, 0, 7, 8, 9, 0, 10, 11, 12, 0, 13, 14, 15, 0);
  const Ints in = reinterpret_cast<Ints>(
      __builtin_shufflevector(reinterpret_cast<Halves>(left), reinterpret_cast<Halves>(right), 0, 1, 2, 3));
  const Floats r = __builtin_convertvector(in & 255, Floats),
               g = __builtin_convertvector(in >> 8 & 255, Floats),
               b = __builtin_convertvector(in >> 16 & 255, Floats);
  Ints out = {};
  for (int c = 0; c < kC; ++c) {
    const float* m = change.matrix[c];
    Ints v = __builtin_convertvector(m[0] * r + m[1] * g + m[2] * b + change.shift[c], Ints);
    const Ints zero = {}, top = zero + 255;
    v = v < zero ? zero : v;
    v = v > top ? top : v;
    out |= v << (8 * c);
  }
  const auto halves = reinterpret_cast<Quarters>(out);
  left = reinterpret_cast<Bytes>(__builtin_shufflevector(halves, halves, 0, 1));
  right = reinterpret_cast<Bytes>(__builtin_shufflevector(halves, halves, 2, 3));
  const Bytes first = __builtin_shufflevector(left, right, 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18,
                                              20),
              last =
                  __builtin_shufflevector(right, right, 5, 6, 8, 9, 10, 12, 13, 14, 0, 0, 0, 0, 0, 0, 0, 0);
  std::memcpy(p, &first, 16);
  std::memcpy(p + 16, &last, 8);
}

}  // namespace

void change_color(Image& image, const ColorChange& change, const std::string& order) {
  // The four are affine and nothing is rounded between them, so they are one map; the mean that contrast
  // needs is the map of the picture's mean.
  ColorMap map;
  for (const char step : order) {
    if (step == 'b' && change.brightness != 1) map = map.then(scale_map(change.brightness));
    if (step == 's' && change.saturation != 1) map = map.then(saturation_map(change.saturation));
    if (step == 'h' && change.hue_degrees != 0) map = map.then(hue_map(change.hue_degrees));
    if (step == 'c' && change.contrast != 1) {
      ColorMap contrast = scale_map(change.contrast);
      contrast.shift.fill((1 - change.contrast) * luma(map(mean_color(image))));
      map = map.then(contrast);
    }
  }
  PixelChange pixels;
  for (int i = 0; i < 3; ++i) {
    pixels.shift[i] = static_cast<float>(map.shift[i]) + 0.5f;
    for (int j = 0; j < 3; ++j) pixels.matrix[i][j] = static_cast<float>(map.matrix[i][j]);
  }
  constexpr size_t kStep = kPixels * kC;
  uint8_t* p = image.pixels.data();
  const size_t size = image.pixels.size(), whole = size / kStep * kStep;
  for (size_t i = 0; i < whole; i += kStep) change_pixels(p + i, pixels);
  uint8_t rest[kStep] = {};
  std::copy(p + whole, p + size, rest);
  change_pixels(rest, pixels);
  std::copy_n(rest, size - whole, p + whole);
}

}  // namespace espalier
