#include "kernels/depthwise_prepared.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/conv2d_tile.h"
#include "kernels/grid.h"
#include "kernels/simd.h"

namespace espalier::kernels {

using simd::kLanes;

namespace {

/// Input lines that one thread finishes for all its channels before it goes on: about a third of a
/// second-level cache.
constexpr int64_t kChunkBytes = 384 << 10;
constexpr int kMaxLines = 64;

/// A strip: some neighbouring columns of the output, one vector of channels, any lines.
struct Strip {
  std::span<const DepthwiseLine> lines;
  const float *x,
      *end;      ///< the strip's first window (column 0 of the filter) in row 0, and past the last row
  int64_t wrap;  ///< floats from `end` back to row 0
  const float *w, *bias, *residual;
  float* y;
  int64_t x_line, x_pixel, w_line, w_pixel;
  int first, last;  ///< columns of the strip's input that lie inside the image
  int taps, stride;
  int channels;  ///< of the vector that exist
  Activation act;

  const float* next_row(const float* row) const {
    row += x_line;
    return row < end ? row : row - wrap;
  }
};

template <bool kWhole>
simd::Vector load_channels(const float* p, int channels) {
  return kWhole ? simd::load(p) : simd::load(p, channels);
}

template <bool kWhole>
void store_channels(float* p, simd::Vector v, int channels) {
  if (kWhole)
    simd::store(p, v);
  else
    simd::store(p, v, channels);
}

/// One column and any filter.
template <bool kWhole>
void any_strip(const Strip& t) {
  const VectorActivation act(t.act);
  for (const DepthwiseLine& line : t.lines) {
    simd::Vector sum = simd::load(t.bias);
    const float* x = t.x + line.x;
    for (int r = 0; r < line.rows; ++r, x = t.next_row(x))
      for (int s = std::max(0, t.first); s < std::min(t.taps, t.last); ++s)
        sum = simd::fma(load_channels<kWhole>(x + s * t.x_pixel, t.channels),
                        simd::load(t.w + (line.first + r) * t.w_line + s * t.w_pixel), sum);
    if (t.residual) sum = simd::add(sum, load_channels<kWhole>(t.residual + line.y, t.channels));
    store_channels<kWhole>(t.y + line.y, act(sum), t.channels);
  }
}

/// The next pixel. One pointer that walks: the compiler would make one for every pixel, more than there are
/// registers.
template <class T>
T* next(T* pixel, int64_t step) {
  pixel += step;
  simd::hold(pixel);
  return pixel;
}

/// Adds one row of the input to QT sums whose windows overlap: each pixel is loaded once. Pixels outside
/// [first, last) are left out; only the outermost S - 1 can be.
template <int S, int kStride, bool kWhole, int QT>
inline void add_row(const Strip& t, const float* x, const simd::Vector* filter, simd::Vector* sum) {
  constexpr int kColumns = (QT - 1) * kStride + S;
#pragma GCC unroll 32
  for (int i = 0; i < kColumns; ++i, x = next(x, t.x_pixel)) {
    if (i < S - 1 && i < t.first) continue;
    if (i > kColumns - S && i >= t.last) continue;
    simd::Vector in = load_channels<kWhole>(x, t.channels);
    simd::hold(in);
#pragma GCC unroll 16
    for (int q = 0; q < QT; ++q)
      if (const int s = i - q * kStride; s >= 0 && s < S) sum[q] = simd::fma(in, filter[s], sum[q]);
  }
}

/// QT columns at once. Needs padding of less than S columns.
template <int S, int kStride, bool kWhole, int QT>
void strip(const Strip& strip) {
  const Strip t = strip;
  const VectorActivation act(t.act);
  const simd::Vector bias = simd::load(t.bias);
  constexpr int kRows = S * S + QT + 6 <= simd::kRegisters ? S : 1;  // rows of the filter that registers hold
  simd::Vector filter[kRows][S];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) filter[r][s] = simd::load(t.w + r * t.w_line + s * t.w_pixel);
  for (const DepthwiseLine& line : t.lines) {
    simd::Vector sum[QT];
#pragma GCC unroll 16
    for (int q = 0; q < QT; ++q) sum[q] = bias;
    const float* x = t.x + line.x;
    if (kRows == S && line.rows == S) {
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r, x = t.next_row(x))
        add_row<S, kStride, kWhole, QT>(t, x, filter[r], sum);
    } else {
      for (int r = 0; r < line.rows; ++r, x = t.next_row(x)) {
        simd::Vector row[S];
#pragma GCC unroll 8
        for (int s = 0; s < S; ++s) row[s] = simd::load(t.w + (line.first + r) * t.w_line + s * t.w_pixel);
        add_row<S, kStride, kWhole, QT>(t, x, row, sum);
      }
    }
    if (t.residual) {
      const float* residual = t.residual + line.y;
#pragma GCC unroll 16
      for (int q = 0; q < QT; ++q, residual = next(residual, t.x_pixel))
        sum[q] = simd::add(sum[q], load_channels<kWhole>(residual, t.channels));
    }
    float* y = t.y + line.y;
#pragma GCC unroll 16
    for (int q = 0; q < QT; ++q, y = next(y, t.x_pixel)) store_channels<kWhole>(y, act(sum[q]), t.channels);
  }
}

constexpr int kMaxColumns = simd::kRegisters >= 32 ? 8 : 4;
using StripFunction = void (*)(const Strip&);
using StripRow = std::array<StripFunction, kMaxColumns + 1>;  ///< [columns]

template <int S, int kStride, bool kWhole, int... Q>
constexpr StripRow strip_row(std::integer_sequence<int, Q...>) {
  return {nullptr, strip<S, kStride, kWhole, Q + 1>...};
}

/// The strips for a filter's width and stride, null where there are none.
template <bool kWhole>
const StripRow* strips_for(const ConvShape& s) {
  constexpr std::make_integer_sequence<int, kMaxColumns> kCounts;
  static constexpr StripRow k31 = strip_row<3, 1, kWhole>(kCounts), k32 = strip_row<3, 2, kWhole>(kCounts),
                            k51 = strip_row<5, 1, kWhole>(kCounts), k52 = strip_row<5, 2, kWhole>(kCounts);
  if (s.pad.left >= s.S || s.pad.right >= s.S || s.W < s.S) return nullptr;
  if (s.S == 3) return s.stride == 1 ? &k31 : s.stride == 2 ? &k32 : nullptr;
  if (s.S == 5) return s.stride == 1 ? &k51 : s.stride == 2 ? &k52 : nullptr;
  return nullptr;
}

/// All columns of the lines that `t` holds, in nearly equal strips.
template <bool kWhole>
void all_columns(const ConvShape& s, const Strip& t, const StripRow* strips) {
  const int Q = s.Q(), most = strips ? kMaxColumns : 1, calls = (Q + most - 1) / most;
  int q = 0;
  for (int i = 0; i < calls; ++i) {
    const int columns = (Q - q) / (calls - i), left = q * s.stride - s.pad.left;
    Strip part = t;
    part.first = -left;
    part.last = s.W - left;
    part.x += int64_t{left} * s.C;
    if (part.wrap) part.end += int64_t{left} * s.C;
    part.y += int64_t{q} * s.C;
    if (t.residual) part.residual += int64_t{q} * s.C;
    if (strips)
      (*strips)[columns](part);
    else
      any_strip<kWhole>(part);
    q += columns;
  }
}

}  // namespace

PaddedFilters::PaddedFilters(const float* w, const float* bias, int R, int S, int C)
    : channels_((C + kLanes - 1) / kLanes * kLanes),
      values_((static_cast<size_t>(R) * S + 1) * static_cast<size_t>(channels_)) {
  for (int i = 0; i < R * S; ++i)
    std::copy_n(w + int64_t{i} * C, C, values_.begin() + int64_t{i} * channels_);
  if (bias) std::copy_n(bias, C, values_.end() - channels_);
}

int PaddedFilters::blocks() const { return channels_ / kLanes; }

DepthwiseLine depthwise_line(const ConvShape& s, int p) {
  const int top = p * s.stride - s.pad.top, first = std::clamp(-top, 0, s.R);
  return {0, 0, first, std::max(0, std::min(s.R, s.H - top) - first)};
}

void depthwise_lines(const ConvShape& s, Activation act, const PaddedFilters& w, const float* x, int ring,
                     const float* residual, float* y, std::span<const DepthwiseLine> lines,
                     const Share& blocks) {
  const StripRow *whole = strips_for<true>(s), *part = strips_for<false>(s);
  for (int b = blocks.first; b < blocks.last; ++b) {
    const int c = b * kLanes;
    Strip t{};
    t.lines = lines;
    t.x = x + c;
    t.x_pixel = s.C;
    t.x_line = int64_t{s.W} * s.C;
    t.wrap = ring * t.x_line;
    // Without a ring no address is past the end.
    t.end = ring ? t.x + t.wrap
                 : reinterpret_cast<const float*>(~uintptr_t{0});  // NOLINT(performance-no-int-to-ptr)
    t.w = w.filter() + c;
    t.bias = w.bias() + c;
    t.residual = residual ? residual + c : nullptr;
    t.y = y + c;
    t.w_pixel = w.channels();
    t.w_line = int64_t{s.S} * w.channels();
    t.taps = s.S;
    t.stride = s.stride;
    t.channels = std::min(kLanes, s.C - c);
    t.act = act;
    if (t.channels == kLanes)
      all_columns<true>(s, t, whole);
    else
      all_columns<false>(s, t, part);
  }
}

void depthwise_part(const ConvShape& s, Activation act, const PaddedFilters& w, const float* x,
                    const float* residual, float* y, const Share& rows, const Share& blocks) {
  const int P = s.P();
  const int64_t line_bytes =
      int64_t{s.stride} * s.W * (blocks.last - blocks.first) * kLanes * int64_t{sizeof(float)};
  const int chunk =
      static_cast<int>(std::clamp<int64_t>(kChunkBytes / std::max<int64_t>(1, line_bytes), 4, kMaxLines));
  for (int first = rows.first; first < rows.last; first += chunk) {
    DepthwiseLine lines[kMaxLines];
    const int count = std::min(chunk, rows.last - first);
    for (int i = 0; i < count; ++i) {
      const int64_t n = (first + i) / P;
      const int p = (first + i) % P;
      lines[i] = depthwise_line(s, p);
      lines[i].x = (n * s.H + p * s.stride - s.pad.top + lines[i].first) * s.W * s.C;
      lines[i].y = int64_t{first + i} * s.Q() * s.C;
    }
    depthwise_lines(s, act, w, x, 0, residual, y, {lines, static_cast<size_t>(count)}, blocks);
  }
}

void depthwise_prepared(const ConvShape& s, Activation act, const PaddedFilters& w, const float* x,
                        const float* residual, float* y, const Team& team) {
  const int rows = s.N * s.P(), blocks = w.blocks();
  const Grid grid =
      choose_grid(team.threads, rows, blocks, {.work = s.Q() * s.R * s.S / 2.0, .row = 0, .column = 0});
  depthwise_part(s, act, w, x, residual, y, grid.rows(team, rows), grid.columns(team, blocks));
}

}  // namespace espalier::kernels
