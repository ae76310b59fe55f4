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
constexpr int kLowBits = 11;   // a weight is two factors of 16 bits: high << kLowBits, and low
constexpr int kGroup = 4;      // taps at once; weights beyond a range's count are 0
constexpr int kRows = 4;       // stretched at once
constexpr size_t kSlack = 32;  // bytes behind a row that are read, and written before they are written right
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

struct Range {
  int first, count;
  int end() const { return first + count; }
  bool holds(int i) const { return i >= first && i < end(); }
};

/// out[i] = sum over t < ranges[i].count of in[ranges[i].first + t] * weights[i * stride + t], in 22-bit
/// fractions; between equal extents each is itself.
struct Taps {
  std::vector<Range> ranges;
  std::vector<int32_t> weights;
  std::vector<int16_t> high, low;  // weights[j] = (high[j] << kLowBits) + low[j]
  int stride, most;                // most: the largest count

  Taps(int in, int out, Kernel kernel) : ranges(out) {
    const double scale = static_cast<double>(in) / out, stretch = std::max(scale, 1.0);
    const double support = in == out ? 0 : kernel.support * stretch;
    most = static_cast<int>(std::ceil(support)) * 2 + 1;
    stride = (most + kGroup - 1) / kGroup * kGroup;
    weights.assign(static_cast<size_t>(stride) * out, 0);
    std::vector<double> exact(stride);
    for (int i = 0; i < out; ++i) {
      int32_t* of_i = weights.data() + static_cast<size_t>(i) * stride;
      if (in == out) {
        ranges[i] = {i, 1};
        of_i[0] = 1 << kFractionBits;
        continue;
      }
      const double center = (i + 0.5) * scale, shrink = 1.0 / stretch;
      const int first = std::max(static_cast<int>(center - support + 0.5), 0);
      const int count = std::min(static_cast<int>(center + support + 0.5), in) - first;
      double sum = 0;
      for (int t = 0; t < count; ++t) sum += exact[t] = kernel.weight((t + first - center + 0.5) * shrink);
      for (int t = 0; t < count; ++t) {
        const double w = (sum != 0 ? exact[t] / sum : exact[t]) * (1 << kFractionBits);
        of_i[t] = static_cast<int32_t>(w < 0 ? w - 0.5 : w + 0.5);
      }
      ranges[i] = {first, count};
    }
    for (const int32_t w : weights) {
      high.push_back(static_cast<int16_t>(w >> kLowBits));
      low.push_back(static_cast<int16_t>(w & ((1 << kLowBits) - 1)));
    }
  }
  /// Those of `out` that take anything of `in`.
  Range touching(const Range& in) const {
    if (in.count == 0) return {0, 0};
    const auto begin = std::partition_point(ranges.begin(), ranges.end(),
                                            [&](const Range& r) { return r.end() <= in.first; });
    const auto end =
        std::partition_point(begin, ranges.end(), [&](const Range& r) { return r.first < in.end(); });
    return {static_cast<int>(begin - ranges.begin()), static_cast<int>(end - begin)};
  }
};

void fill_pixels(uint8_t* out, int first, int end, const Fill& fill) {
  const uint8_t color[kC] = {fill.red, fill.green, fill.blue};
  for (int i = first; i < end; ++i) std::memcpy(out + static_cast<size_t>(i) * kC, color, kC);
}

/// The rows of a part of a picture. It may reach beyond the picture: there is `outside`.
class Part {
 public:
  Part(const Image& image, const Box& part, const Fill& outside)
      : columns(within(-part.x, image.width, part.width)),
        rows(within(-part.y, image.height, part.height)),
        image_(image),
        part_(part),
        blank_(static_cast<size_t>(part.width) * kC + kSlack) {
    fill_pixels(blank_.data(), 0, part.width, outside);
    for (auto& line : lines_) line = blank_;
  }
  /// A row with kSlack bytes behind it, valid until this `line` is used again.
  const uint8_t* row(int y, int line = 0) {
    if (!rows.holds(y)) return blank_.data();
    std::memcpy(lines_[line].data() + static_cast<size_t>(columns.first) * kC,
                image_.at(part_.x + columns.first, part_.y + y), static_cast<size_t>(columns.count) * kC);
    return lines_[line].data();
  }
  const Range columns, rows;  ///< what of the part the picture covers

 private:
  static Range within(int first, int count, int size) {
    const int from = std::clamp(first, 0, size);
    return {from, std::clamp(first + count, from, size) - from};
  }
  const Image& image_;
  const Box part_;
  std::vector<uint8_t> blank_, lines_[kRows];
};

uint8_t clipped(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255)); }

#if defined(__AVX2__)

/// Pixels i of kRows rows, from kSlack bytes behind the last pixel; a byte after each is written too.
inline void stretch_pixels(const uint8_t* const (&in)[kRows], const Taps& taps, int i,
                           uint8_t* const (&out)[kRows]) {
  // Four pixels to pairs of neighbours, 16 bits each: red, red, green, green; blue, blue, nothing, nothing.
  const __m256i pairs = _mm256_setr_epi8(0, -1, 3, -1, 6, -1, 9, -1, 1, -1, 4, -1, 7, -1, 10, -1,  //
                                         2, -1, 5, -1, 8, -1, 11, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  __m256i high[kRows] = {}, low[kRows] = {};
  const size_t first = static_cast<size_t>(taps.ranges[i].first) * kC;
  const size_t weights = static_cast<size_t>(i) * taps.stride;
  for (int t = 0; t < taps.ranges[i].count; t += kGroup) {
    int64_t of_high, of_low;
    std::memcpy(&of_high, &taps.high[weights + t], sizeof of_high);
    std::memcpy(&of_low, &taps.low[weights + t], sizeof of_low);
    for (int r = 0; r < kRows; ++r) {
      const auto* at = reinterpret_cast<const __m128i*>(in[r] + first + static_cast<size_t>(t) * kC);
      const __m256i x = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(at)), pairs);
      high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(x, _mm256_set1_epi64x(of_high)));
      low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(x, _mm256_set1_epi64x(of_low)));
    }
  }
  for (int r = 0; r < kRows; ++r) low[r] = _mm256_add_epi32(low[r], _mm256_slli_epi32(high[r], kLowBits));
  const auto finish = [](__m256i a, __m256i b) {
    const __m256i sum = _mm256_add_epi32(_mm256_hadd_epi32(a, b), _mm256_set1_epi32(kHalf));
    return _mm256_srai_epi32(sum, kFractionBits);
  };
  const __m256i words = _mm256_packs_epi32(finish(low[0], low[1]), finish(low[2], low[3]));
  const __m256i bytes = _mm256_packus_epi16(words, words);
  const __m128i rgb = _mm_unpacklo_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
  uint32_t pixels[kRows];
  std::memcpy(pixels, &rgb, sizeof pixels);
  for (int r = 0; r < kRows; ++r) std::memcpy(out[r] + static_cast<size_t>(i) * kC, &pixels[r], 4);
}

/// Sixteen bytes of the sum of `count` rows.
inline void blend_bytes(const uint8_t* const* rows, const int32_t* weights, int count, size_t at,
                        uint8_t* out) {
  __m256i left = _mm256_set1_epi32(kHalf), right = left;
  for (int t = 0; t < count; ++t) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[t] + at));
    const __m256i w = _mm256_set1_epi32(weights[t]);
    left = _mm256_add_epi32(left, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(bytes), w));
    right = _mm256_add_epi32(right,
                             _mm256_mullo_epi32(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes)), w));
  }
  left = _mm256_srai_epi32(left, kFractionBits);
  right = _mm256_srai_epi32(right, kFractionBits);
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(left, right), 0b11011000);
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + at), bytes);
}
constexpr size_t kBytes = 16;

#else

inline void stretch_pixels(const uint8_t* const (&in)[kRows], const Taps& taps, int i,
                           uint8_t* const (&out)[kRows]) {
  const int32_t* weights = taps.weights.data() + static_cast<size_t>(i) * taps.stride;
  for (int r = 0; r < kRows; ++r) {
    int32_t sum[kC] = {kHalf, kHalf, kHalf};
    const uint8_t* at = in[r] + static_cast<size_t>(taps.ranges[i].first) * kC;
    for (int t = 0; t < taps.ranges[i].count; ++t, at += kC)
      for (int c = 0; c < kC; ++c) sum[c] += at[c] * weights[t];
    for (int c = 0; c < kC; ++c) out[r][static_cast<size_t>(i) * kC + c] = clipped(sum[c]);
  }
}

inline void blend_bytes(const uint8_t* const* rows, const int32_t* weights, int count, size_t at,
                        uint8_t* out) {
  int32_t sum[16];
  std::fill(std::begin(sum), std::end(sum), kHalf);
  for (int t = 0; t < count; ++t)
    for (int k = 0; k < 16; ++k) sum[k] += rows[t][at + k] * weights[t];
  for (int k = 0; k < 16; ++k) out[at + k] = clipped(sum[k]);
}
constexpr size_t kBytes = 16;

#endif

/// Bytes first .. end - 1 of one row from `count` rows.
void blend_rows(const uint8_t* const* rows, const int32_t* weights, int count, size_t first, size_t end,
                uint8_t* out) {
  size_t at = first;
  for (; at + kBytes <= end; at += kBytes) blend_bytes(rows, weights, count, at, out);
  for (; at < end; ++at) {
    int32_t sum = kHalf;
    for (int t = 0; t < count; ++t) sum += rows[t][at] * weights[t];
    out[at] = clipped(sum);
  }
}

/// The rows of a part after the first pass, made when they are asked for and kept for as long as one pixel of
/// the second pass reaches.
class StretchedRows {
 public:
  StretchedRows(Part& part, const Taps& across, const Range& columns, int reach)
      : part_(part),
        across_(across),
        columns_(columns),
        capacity_(reach + kRows),
        row_bytes_(across.ranges.size() * kC + kSlack),
        kept_(capacity_ * row_bytes_) {}

  /// Row y of the picture's; rows are asked for in ascending order, at most `reach` behind the last one.
  const uint8_t* row(int y) {
    next_ = std::max(next_, part_.rows.first);
    for (; next_ <= y; next_ += kRows) stretch(next_);
    return slot(y);
  }

 private:
  uint8_t* slot(int y) { return kept_.data() + static_cast<size_t>(y % capacity_) * row_bytes_; }
  void stretch(int y) {
    const uint8_t* in[kRows];
    uint8_t* out[kRows];
    for (int r = 0; r < kRows; ++r) {
      in[r] = part_.row(y + r, r);
      out[r] = slot(y + r);
    }
    for (int i = columns_.first; i < columns_.end(); ++i) stretch_pixels(in, across_, i, out);
  }

  Part& part_;
  const Taps& across_;
  const Range columns_;
  const int capacity_;
  const size_t row_bytes_;
  std::vector<uint8_t> kept_;
  int next_ = 0;
};

Image resize_nearest(const Image& image, const Box& from, int width, int height, const Fill& outside) {
  const std::vector<int> xs = nearest_positions(from.width, width),
                         ys = nearest_positions(from.height, height);
  Part part(image, from, outside);
  Image out = Image::unset(width, height);
  for (int y = 0; y < height; ++y) {
    const uint8_t* row = part.row(ys[y]);
    uint8_t* to = out.at(0, y);
    for (int x = 0; x < width; ++x) std::memcpy(to + x * kC, row + xs[x] * kC, kC);
  }
  return out;
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

void check_part(int width, int height, const Box& part) {
  ESPALIER_CHECK(part.width > 0 && part.height > 0 && part.x >= 0 && part.y >= 0 &&
                     part.width <= width - part.x && part.height <= height - part.y,
                 "a crop of ", part.width, "x", part.height, " at (", part.x, ", ", part.y,
                 ") does not lie within the picture of ", width, "x", height, "; crop less or resize first");
}

Image crop(const Image& image, const Box& box) {
  check_part(image.width, image.height, box);
  return crop(image, box, Fill{});
}

Image crop(const Image& image, const Box& box, const Fill& outside) {
  Image out = Image::unset(box.width, box.height);
  Part part(image, box, outside);
  for (int y = 0; y < box.height; ++y)
    std::memcpy(out.at(0, y), part.row(y), static_cast<size_t>(box.width) * kC);
  return out;
}

Image resize(const Image& image, int width, int height, Filter filter) {
  return resize(image, {0, 0, image.width, image.height}, width, height, filter);
}

Image resize(const Image& image, const Box& from, int width, int height, Filter filter) {
  check_part(image.width, image.height, from);
  return resize(image, from, width, height, filter, Fill{});
}

Image resize(const Image& image, const Box& from, int width, int height, Filter filter, const Fill& outside) {
  ESPALIER_CHECK(width > 0 && height > 0, "resize: to ", width, "x", height,
                 "; both must be at least 1 pixel");
  if (width == from.width && height == from.height) return crop(image, from, outside);
  if (filter == Filter::kNearest) return resize_nearest(image, from, width, height, outside);
  // Rows first, then columns. What takes nothing of the picture is as flat as what it is made of.
  const Taps across(from.width, width, kernel_of(filter)), down(from.height, height, kernel_of(filter));
  Part part(image, from, outside);
  const Range columns = across.touching(part.columns), lines = down.touching(part.rows);
  StretchedRows stretched(part, across, columns, down.most);
  Image out = Image::unset(width, height);
  std::vector<uint8_t> blank(static_cast<size_t>(width) * kC + kSlack);
  fill_pixels(blank.data(), 0, width, outside);
  std::vector<const uint8_t*> rows(down.most);
  for (int y = 0; y < height; ++y) {
    if (!lines.holds(y) || columns.count == 0) {
      std::memcpy(out.at(0, y), blank.data(), static_cast<size_t>(width) * kC);
      continue;
    }
    const Range& range = down.ranges[y];
    for (int t = 0; t < range.count; ++t)
      rows[t] = part.rows.holds(range.first + t) ? stretched.row(range.first + t) : blank.data();
    fill_pixels(out.at(0, y), 0, columns.first, outside);
    blend_rows(rows.data(), down.weights.data() + static_cast<size_t>(y) * down.stride, range.count,
               static_cast<size_t>(columns.first) * kC, static_cast<size_t>(columns.end()) * kC,
               out.at(0, y));
    fill_pixels(out.at(0, y), columns.end(), width, outside);
  }
  return out;
}

}  // namespace espalier
