#include "datasets/resample.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <numbers>

#include "base/error.h"

namespace espalier {

namespace {

constexpr int kFractionBits = 22;  // 32, less 8 for the pixel and 2 for overshoot
constexpr int kHalf = 1 << (kFractionBits - 1);
constexpr int kC = Image::kChannels;

double triangle(double x) {
  x = std::abs(x);
  return x < 1 ? 1 - x : 0;
}

/// Keys, "Cubic convolution interpolation", 1981, with a = -1/2.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

double sinc(double x) { return x == 0 ? 1 : std::sin(std::numbers::pi * x) / (std::numbers::pi * x); }

double lanczos(double x) { return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0; }

double box(double x) { return x > -0.5 && x <= 0.5 ? 1 : 0; }

struct Kernel {
  double (*weight)(double);
  double support;
};

Kernel kernel_of(Filter filter) {
  switch (filter) {
    case Filter::kBox:
      return {box, 0.5};
    case Filter::kBilinear:
      return {triangle, 1};
    case Filter::kBicubic:
      return {cubic, 2};
    default:
      return {lanczos, 3};
  }
}

/// out[i] = sum over t < taps[i].count of in[taps[i].first + t] * weights[i * stride + t], in 22-bit
/// fractions.
struct Taps {
  struct Range {
    int first, count;
  };
  std::vector<Range> ranges;
  std::vector<int32_t> weights;
  int stride;

  Taps(int in, int out, Kernel kernel) : ranges(out) {
    const double scale = static_cast<double>(in) / out, stretch = std::max(scale, 1.0);
    const double support = kernel.support * stretch;
    stride = static_cast<int>(std::ceil(support)) * 2 + 1;
    weights.assign(static_cast<size_t>(stride) * out, 0);
    std::vector<double> exact(stride);
    for (int i = 0; i < out; ++i) {
      const double center = (i + 0.5) * scale, shrink = 1.0 / stretch;
      const int first = std::max(static_cast<int>(center - support + 0.5), 0);
      const int count = std::min(static_cast<int>(center + support + 0.5), in) - first;
      double sum = 0;
      for (int t = 0; t < count; ++t) sum += exact[t] = kernel.weight((t + first - center + 0.5) * shrink);
      for (int t = 0; t < count; ++t) {
        const double w = (sum != 0 ? exact[t] / sum : exact[t]) * (1 << kFractionBits);
        weights[static_cast<size_t>(i) * stride + t] = static_cast<int32_t>(w < 0 ? w - 0.5 : w + 0.5);
      }
      ranges[i] = {first, count};
    }
  }
};

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
constexpr int kRows = kLanes / 4;
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef uint8_t Bytes __attribute__((vector_size(kLanes)));

/// g++ 12 takes __builtin_convertvector apart, byte by byte, in this direction.
inline Ints widen(Bytes bytes) {
#if defined(__AVX512F__)
  return reinterpret_cast<Ints>(_mm512_cvtepu8_epi32(reinterpret_cast<__m128i>(bytes)));
#elif defined(__AVX2__)
  return reinterpret_cast<Ints>(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(reinterpret_cast<int64_t>(bytes))));
#else
  return __builtin_convertvector(bytes, Ints);
#endif
}

/// Sums with 22 bits of fraction to bytes.
inline Bytes narrow(Ints sum) {
  const Ints zero = {}, top = zero + 255;
  sum >>= kFractionBits;
  sum = sum < zero ? zero : sum;
  sum = sum > top ? top : sum;
  return __builtin_convertvector(sum, Bytes);
}

/// As many rows at once as fill one vector with a pixel of each and the byte after it; `in` and `out` need a
/// byte of slack. Rows may be the same.
void stretch_rows(const uint8_t* const (&in)[kRows], const Taps& taps, uint8_t* const (&out)[kRows]) {
  const int32_t* weights = taps.weights.data();
  for (size_t i = 0; i < taps.ranges.size(); ++i, weights += taps.stride) {
    Ints sum = Ints{} + kHalf;
    const size_t first = static_cast<size_t>(taps.ranges[i].first) * kC;
    for (int t = 0; t < taps.ranges[i].count; ++t) {
      uint32_t pixels[kRows];
      for (int r = 0; r < kRows; ++r) std::memcpy(&pixels[r], in[r] + first + static_cast<size_t>(t) * kC, 4);
      Bytes bytes;
      std::memcpy(&bytes, pixels, sizeof bytes);
      sum += widen(bytes) * weights[t];
    }
    const Bytes bytes = narrow(sum);
    uint32_t pixels[kRows];
    std::memcpy(pixels, &bytes, sizeof pixels);
    for (int r = 0; r < kRows; ++r) std::memcpy(out[r] + i * kC, &pixels[r], kC);
  }
}

/// One vector of bytes from `count` rows.
inline void blend_bytes(const uint8_t* const* rows, const int32_t* weights, int count, size_t at,
                        uint8_t* out) {
  Ints sum = Ints{} + kHalf;
  for (int t = 0; t < count; ++t) {
    Bytes bytes;
    std::memcpy(&bytes, rows[t] + at, sizeof bytes);
    sum += widen(bytes) * weights[t];
  }
  const Bytes bytes = narrow(sum);
  std::memcpy(out + at, &bytes, sizeof bytes);
}

/// One row from `count` rows, `length` bytes each.
void blend_rows(const uint8_t* const* rows, const int32_t* weights, int count, size_t length, uint8_t* out) {
  size_t at = 0;
  for (; at + kLanes <= length; at += kLanes) blend_bytes(rows, weights, count, at, out);
  for (; at < length; ++at) {
    int32_t sum = kHalf;
    for (int t = 0; t < count; ++t) sum += rows[t][at] * weights[t];
    out[at] = static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
  }
}

Image resize_nearest(const Image& image, const Box& from, int width, int height) {
  const std::vector<int> xs = nearest_positions(from.width, width),
                         ys = nearest_positions(from.height, height);
  Image out(width, height);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) std::memcpy(out.at(x, y), image.at(from.x + xs[x], from.y + ys[y]), kC);
  return out;
}

void check_box(const Image& image, const Box& box) {
  ESPALIER_CHECK(box.width > 0 && box.height > 0 && box.x >= 0 && box.y >= 0 &&
                     box.width <= image.width - box.x && box.height <= image.height - box.y,
                 "a crop of ", box.width, "x", box.height, " at (", box.x, ", ", box.y,
                 ") does not lie within the picture of ", image.width, "x", image.height,
                 "; crop less or resize first");
}

}  // namespace

const char* name(Filter filter) {
  constexpr const char* names[] = {"nearest", "box", "bilinear", "bicubic", "lanczos"};
  return names[static_cast<int>(filter)];
}

std::vector<int> nearest_positions(int in, int out) {
  const double step = static_cast<double>(in) / out;
  std::vector<int> positions(out);
  double at = step * 0.5;  // accumulated as in Pillow, so that ties fall on the same side
  for (int& position : positions) {
    position = std::min(static_cast<int>(at), in - 1);
    at += step;
  }
  return positions;
}

Image crop(const Image& image, const Box& box) {
  check_box(image, box);
  Image out(box.width, box.height);
  for (int y = 0; y < box.height; ++y)
    std::memcpy(out.at(0, y), image.at(box.x, box.y + y), static_cast<size_t>(box.width) * kC);
  return out;
}

Image resize(const Image& image, int width, int height, Filter filter) {
  return resize(image, {0, 0, image.width, image.height}, width, height, filter);
}

Image resize(const Image& image, const Box& from, int width, int height, Filter filter) {
  check_box(image, from);
  ESPALIER_CHECK(width > 0 && height > 0, "resize: to ", width, "x", height,
                 "; both must be at least 1 pixel");
  if (width == from.width && height == from.height) return crop(image, from);
  if (filter == Filter::kNearest) return resize_nearest(image, from, width, height);
  const Kernel kernel = kernel_of(filter);

  // Rows first. A pass between equal extents is left out.
  const size_t row_bytes = static_cast<size_t>(width) * kC;
  std::vector<uint8_t> stretched;
  std::vector<const uint8_t*> rows(from.height);
  if (width != from.width) {
    const Taps taps(from.width, width, kernel);
    stretched.resize(row_bytes * from.height + 1);
    // The picture's last pixel has no byte after it: its row is copied to where there is one.
    std::vector<uint8_t> padded;
    if (from.y + from.height == image.height) {
      const uint8_t* row = image.at(from.x, image.height - 1);
      padded.assign(row, row + static_cast<size_t>(from.width) * kC);
      padded.push_back(0);
    }
    for (int y = 0; y < from.height; y += kRows) {
      const uint8_t* in[kRows];
      uint8_t* out[kRows];
      for (int r = 0; r < kRows; ++r) {
        const int row = std::min(y + r, from.height - 1);
        in[r] = !padded.empty() && row == from.height - 1 ? padded.data() : image.at(from.x, from.y + row);
        out[r] = stretched.data() + row * row_bytes;
        rows[row] = out[r];
      }
      stretch_rows(in, taps, out);
    }
  } else {
    for (int y = 0; y < from.height; ++y) rows[y] = image.at(from.x, from.y + y);
  }

  if (height == from.height) {
    Image out;
    out.width = width;
    out.height = height;
    stretched.resize(row_bytes * height);
    out.pixels = std::move(stretched);
    return out;
  }
  const Taps taps(from.height, height, kernel);
  Image out(width, height);
  for (int y = 0; y < height; ++y)
    blend_rows(rows.data() + taps.ranges[y].first, taps.weights.data() + static_cast<size_t>(y) * taps.stride,
               taps.ranges[y].count, row_bytes, out.at(0, y));
  return out;
}

}  // namespace espalier
