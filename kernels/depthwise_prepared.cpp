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

/// A strip: some neighbouring columns of the output, one vector of channels, any lines. The rows that a
/// filter may see differ by line, the columns by strip.
struct Strip {
  struct Line {
    int64_t x, y;     ///< where the first row that the filter sees and the output line start, in floats
    int first, rows;  ///< of the filter that lie inside the image
  };
  const Line* lines;
  int count;
  const float *x, *w, *bias, *residual;  // at the strip's first window (column 0 of the filter) and channel
  float* y;
  int64_t x_line, x_pixel, w_line, w_pixel;
  int first, last;  ///< columns of the strip's input that lie inside the image
  int taps, stride;
  int channels;  ///< of the vector that exist
  Activation act;
};

template <bool kWhole>
simd::Vector load_channels(const float* p, int channels) {
  return kWhole ? simd::load(p) : simd::load(p, channels);
}

/// Adds the residual, activates, and writes one pixel.
template <bool kWhole>
void finish(const Strip& t, const VectorActivation& act, simd::Vector sum, int64_t at) {
  if (t.residual) sum = simd::add(sum, load_channels<kWhole>(t.residual + at, t.channels));
  sum = act(sum);
  if (kWhole)
    simd::store(t.y + at, sum);
  else
    simd::store(t.y + at, sum, t.channels);
}

/// One column and any filter.
template <bool kWhole>
void any_strip(const Strip& t) {
  const VectorActivation act(t.act);
  for (int i = 0; i < t.count; ++i) {
    const Strip::Line& line = t.lines[i];
    simd::Vector sum = simd::load(t.bias);
    for (int r = 0; r < line.rows; ++r)
      for (int s = std::max(0, t.first); s < std::min(t.taps, t.last); ++s)
        sum = simd::fma(load_channels<kWhole>(t.x + line.x + r * t.x_line + s * t.x_pixel, t.channels),
                        simd::load(t.w + (line.first + r) * t.w_line + s * t.w_pixel), sum);
    finish<kWhole>(t, act, sum, line.y);
  }
}

/// QT columns whose windows overlap: each input is loaded once. Needs padding of less than S columns, so that
/// only the outermost S - 1 columns of the input can lie outside the image.
template <int S, int kStride, bool kWhole, int QT>
void strip(const Strip& strip) {
  const Strip t = strip;
  const VectorActivation act(t.act);
  const simd::Vector bias = simd::load(t.bias);
  constexpr int kColumns = (QT - 1) * kStride + S;
  for (int l = 0; l < t.count; ++l) {
    const Strip::Line line = t.lines[l];
    simd::Vector sum[QT];
#pragma GCC unroll 16
    for (int q = 0; q < QT; ++q) sum[q] = bias;
    const float *x = t.x + line.x, *w = t.w + line.first * t.w_line;
    for (int r = 0; r < line.rows; ++r) {
      simd::Vector filter[S];
#pragma GCC unroll 16
      for (int s = 0; s < S; ++s) filter[s] = simd::load(w + s * t.w_pixel);
#pragma GCC unroll 32
      for (int i = 0; i < kColumns; ++i) {
        if (i < S - 1 && i < t.first) continue;
        if (i > kColumns - S && i >= t.last) continue;
        simd::Vector in = load_channels<kWhole>(x + i * t.x_pixel, t.channels);
        simd::hold(in);
#pragma GCC unroll 16
        for (int q = 0; q < QT; ++q)
          if (const int s = i - q * kStride; s >= 0 && s < S) sum[q] = simd::fma(in, filter[s], sum[q]);
      }
      x += t.x_line;
      w += t.w_line;
    }
#pragma GCC unroll 16
    for (int q = 0; q < QT; ++q) finish<kWhole>(t, act, sum[q], line.y + q * t.x_pixel);
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

void depthwise_prepared(const ConvShape& s, Activation act, const PaddedFilters& w, const float* x,
                        const float* residual, float* y, const Team& team) {
  const int P = s.P(), rows = s.N * P, blocks = w.channels() / kLanes;
  const Grid grid =
      choose_grid(team.threads, rows, blocks, {.work = s.Q() * s.R * s.S / 2.0, .row = 0, .column = 0});
  const Share own_rows = grid.rows(team, rows), own_blocks = grid.columns(team, blocks);
  const int64_t line_bytes =
      int64_t{s.stride} * s.W * (own_blocks.last - own_blocks.first) * kLanes * int64_t{sizeof(float)};
  const int chunk =
      static_cast<int>(std::clamp<int64_t>(kChunkBytes / std::max<int64_t>(1, line_bytes), 4, kMaxLines));
  const StripRow *whole = strips_for<true>(s), *part = strips_for<false>(s);
  for (int first = own_rows.first; first < own_rows.last; first += chunk) {
    Strip::Line lines[kMaxLines];
    const int count = std::min(chunk, own_rows.last - first);
    for (int i = 0; i < count; ++i) {
      const int64_t n = (first + i) / P;
      const int top = (first + i) % P * s.stride - s.pad.top, r0 = std::clamp(-top, 0, s.R);
      lines[i] = {(n * s.H + top + r0) * s.W * s.C, int64_t{first + i} * s.Q() * s.C, r0,
                  std::max(0, std::min(s.R, s.H - top) - r0)};
    }
    for (int b = own_blocks.first; b < own_blocks.last; ++b) {
      const int c = b * kLanes;
      Strip t{};
      t.lines = lines;
      t.count = count;
      t.x = x + c;
      t.w = w.filter() + c;
      t.bias = w.bias() + c;
      t.residual = residual ? residual + c : nullptr;
      t.y = y + c;
      t.x_pixel = s.C;
      t.x_line = int64_t{s.W} * s.C;
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
}

}  // namespace espalier::kernels
