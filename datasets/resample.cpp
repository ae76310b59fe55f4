#include "datasets/resample.h"

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

typedef int32_t Int4 __attribute__((vector_size(16)));
typedef uint8_t Byte4 __attribute__((vector_size(4)));

/// One row: a pixel and the byte after it are one vector of four, so `in` and `out` need a byte of slack.
void resample_row(const uint8_t* in, const Taps& taps, uint8_t* out) {
  const Int4 zero = {0, 0, 0, 0}, top = {255, 255, 255, 255};
  const int32_t* weights = taps.weights.data();
  for (const Taps::Range& range : taps.ranges) {
    Int4 sum = {kHalf, kHalf, kHalf, kHalf};
    const uint8_t* pixel = in + range.first * kC;
    for (int t = 0; t < range.count; ++t, pixel += kC) {
      Byte4 bytes;
      std::memcpy(&bytes, pixel, 4);
      sum += __builtin_convertvector(bytes, Int4) * weights[t];
    }
    sum >>= kFractionBits;
    sum = sum < zero ? zero : sum;
    sum = sum > top ? top : sum;
    const Byte4 bytes = __builtin_convertvector(sum, Byte4);
    std::memcpy(out, &bytes, 4);
    out += kC;
    weights += taps.stride;
  }
}

/// One row from `count` rows, `length` bytes each.
void resample_rows(const uint8_t* const* rows, const int32_t* weights, int count, int length, uint8_t* out) {
  constexpr int kBlock = 64;
  const auto block = [&](int from, int n) {
    int32_t sum[kBlock];
    std::fill_n(sum, kBlock, kHalf);
    for (int t = 0; t < count; ++t) {
      const uint8_t* row = rows[t] + from;
      for (int i = 0; i < n; ++i) sum[i] += row[i] * weights[t];
    }
    for (int i = 0; i < n; ++i)
      out[from + i] = static_cast<uint8_t>(std::clamp(sum[i] >> kFractionBits, 0, 255));
  };
  int from = 0;
  for (; from + kBlock <= length; from += kBlock) block(from, kBlock);
  if (from < length) block(from, length - from);
}

/// Positions accumulate as in Pillow, so that ties fall on the same side.
std::vector<int> nearest_positions(int in, int out) {
  const double step = static_cast<double>(in) / out;
  std::vector<int> positions(out);
  double at = step * 0.5;
  for (int& position : positions) {
    position = std::min(static_cast<int>(at), in - 1);
    at += step;
  }
  return positions;
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
    std::vector<uint8_t> padded;
    for (int y = 0; y < from.height; ++y) {
      const uint8_t* row = image.at(from.x, from.y + y);
      if (from.y + y == image.height - 1) {
        padded.assign(row, row + static_cast<size_t>(from.width) * kC);
        padded.push_back(0);
        row = padded.data();
      }
      resample_row(row, taps, stretched.data() + y * row_bytes);
      rows[y] = stretched.data() + y * row_bytes;
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
    resample_rows(rows.data() + taps.ranges[y].first,
                  taps.weights.data() + static_cast<size_t>(y) * taps.stride, taps.ranges[y].count,
                  static_cast<int>(row_bytes), out.at(0, y));
  return out;
}

}  // namespace espalier
