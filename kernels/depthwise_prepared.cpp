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

/// Some neighbouring pixels of one output line and one vector of channels.
struct DepthwiseTile {
  const float *x, *w, *bias, *residual;
  float* y;
  int64_t x_line, x_pixel, w_line, w_pixel, y_pixel;
  int lines, taps, stride;  ///< filter lines and columns inside the image
  int channels;             ///< of the vector that exist
  Activation act;
};

template <bool kWhole>
simd::Vector load_channels(const float* p, int channels) {
  return kWhole ? simd::load(p) : simd::load(p, channels);
}

/// Bias is in the sum already.
template <bool kWhole>
void finish(const DepthwiseTile& t, simd::Vector sum, int q) {
  if (t.residual) sum = simd::add(sum, load_channels<kWhole>(t.residual + q * t.y_pixel, t.channels));
  sum = activate(sum, t.act);
  if (kWhole)
    simd::store(t.y + q * t.y_pixel, sum);
  else
    simd::store(t.y + q * t.y_pixel, sum, t.channels);
}

/// One pixel, any filter.
template <bool kWhole>
void any_pixel(const DepthwiseTile& t) {
  simd::Vector sum = simd::load(t.bias);
  for (int r = 0; r < t.lines; ++r)
    for (int s = 0; s < t.taps; ++s)
      sum = simd::fma(load_channels<kWhole>(t.x + r * t.x_line + s * t.x_pixel, t.channels),
                      simd::load(t.w + r * t.w_line + s * t.w_pixel), sum);
  finish<kWhole>(t, sum, 0);
}

/// QT pixels whose windows overlap: each input is loaded once.
template <int S, int kStride, bool kWhole, int QT>
void pixels(const DepthwiseTile& t) {
  simd::Vector sum[QT];
  const simd::Vector bias = simd::load(t.bias);
#pragma GCC unroll 16
  for (int q = 0; q < QT; ++q) sum[q] = bias;
  for (int r = 0; r < t.lines; ++r) {
    simd::Vector filter[S];
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) filter[s] = simd::load(t.w + r * t.w_line + s * t.w_pixel);
    const float* x = t.x + r * t.x_line;
#pragma GCC unroll 32
    for (int i = 0; i < (QT - 1) * kStride + S; ++i) {
      const simd::Vector in = load_channels<kWhole>(x + i * t.x_pixel, t.channels);
#pragma GCC unroll 16
      for (int q = 0; q < QT; ++q)
        if (const int s = i - q * kStride; s >= 0 && s < S) sum[q] = simd::fma(in, filter[s], sum[q]);
    }
  }
#pragma GCC unroll 16
  for (int q = 0; q < QT; ++q) finish<kWhole>(t, sum[q], q);
}

constexpr int kMaxPixels = simd::kRegisters >= 32 ? 8 : 4;
using TileFunction = void (*)(const DepthwiseTile&);
using TileRow = std::array<TileFunction, kMaxPixels + 1>;  ///< [pixels]

template <int S, int kStride, bool kWhole, int... Q>
constexpr TileRow tile_row(std::integer_sequence<int, Q...>) {
  return {nullptr, pixels<S, kStride, kWhole, Q + 1>...};
}

/// The tiles for a filter's width and stride, null where there are none.
template <bool kWhole>
const TileRow* tiles_for(int S, int stride) {
  constexpr std::make_integer_sequence<int, kMaxPixels> kCounts;
  static constexpr TileRow k31 = tile_row<3, 1, kWhole>(kCounts), k32 = tile_row<3, 2, kWhole>(kCounts),
                           k51 = tile_row<5, 1, kWhole>(kCounts), k52 = tile_row<5, 2, kWhole>(kCounts);
  if (S == 3) return stride == 1 ? &k31 : stride == 2 ? &k32 : nullptr;
  if (S == 5) return stride == 1 ? &k51 : stride == 2 ? &k52 : nullptr;
  return nullptr;
}

/// The pixels [q0, q1) of a line, whose windows lie inside the image from left to right.
template <bool kWhole>
void inner_pixels(DepthwiseTile t, const TileRow* tiles, int count) {
  const int most = tiles ? kMaxPixels : 1, calls = (count + most - 1) / most;
  int done = 0;
  for (int i = 0; i < calls; ++i) {
    const int n = (count - done) / (calls - i);
    if (tiles)
      (*tiles)[n](t);
    else
      any_pixel<kWhole>(t);
    done += n;
    t.x += n * t.stride * t.x_pixel;
    t.y += n * t.y_pixel;
    if (t.residual) t.residual += n * t.y_pixel;
  }
}

/// One output line of one vector of channels; `t` points to its first channel in the line's image.
template <bool kWhole>
void line(const ConvShape& s, const DepthwiseTile& t, const TileRow* tiles, int p) {
  const int Q = s.Q(), top = p * s.stride - s.pad.top;
  const int r0 = std::max(0, -top), r1 = std::max(r0, std::min(s.R, s.H - top));
  const int q0 = std::min(Q, (s.pad.left + s.stride - 1) / s.stride), fitting = s.W - s.S + s.pad.left;
  const int q1 = std::clamp(fitting < 0 ? 0 : fitting / s.stride + 1, q0, Q);
  const auto at = [&](int q, int s0, int s1) {
    DepthwiseTile part = t;
    part.lines = r1 - r0;
    part.taps = s1 - s0;
    part.x += int64_t{top + r0} * t.x_line + int64_t{q * s.stride - s.pad.left + s0} * t.x_pixel;
    part.w += r0 * t.w_line + s0 * t.w_pixel;
    part.y += (int64_t{p} * Q + q) * t.y_pixel;
    if (t.residual) part.residual += (int64_t{p} * Q + q) * t.y_pixel;
    return part;
  };
  const auto edge = [&](int q) {
    const int left = q * s.stride - s.pad.left, s0 = std::max(0, -left);
    any_pixel<kWhole>(at(q, s0, std::max(s0, std::min(s.S, s.W - left))));
  };
  for (int q = 0; q < q0; ++q) edge(q);
  if (q1 > q0) inner_pixels<kWhole>(at(q0, 0, s.S), tiles, q1 - q0);
  for (int q = q1; q < Q; ++q) edge(q);
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
  const double loads = static_cast<double>(s.Q()) * s.R * s.S;
  const Grid grid = choose_grid(team.threads, rows, blocks, {.work = loads / 2, .row = 0, .column = 0});
  const Share own_rows = grid.rows(team, rows), own_blocks = grid.columns(team, blocks);
  const int64_t line_bytes =
      int64_t{s.stride} * s.W * (own_blocks.last - own_blocks.first) * kLanes * int64_t{sizeof(float)};
  const int chunk = static_cast<int>(std::max<int64_t>(4, kChunkBytes / std::max<int64_t>(1, line_bytes)));
  const TileRow *whole = tiles_for<true>(s.S, s.stride), *part = tiles_for<false>(s.S, s.stride);
  for (int first = own_rows.first; first < own_rows.last; first += chunk) {
    const int last = std::min(own_rows.last, first + chunk);
    for (int b = own_blocks.first; b < own_blocks.last; ++b) {
      const int c = b * kLanes, channels = std::min(kLanes, s.C - c);
      DepthwiseTile t{};
      t.w = w.filter() + c;
      t.bias = w.bias() + c;
      t.x_pixel = t.y_pixel = s.C;
      t.x_line = int64_t{s.W} * s.C;
      t.w_pixel = w.channels();
      t.w_line = int64_t{s.S} * w.channels();
      t.stride = s.stride;
      t.channels = channels;
      t.act = act;
      for (int row = first; row < last; ++row) {
        const int64_t image = row / P, y_image = image * P * s.Q() * s.C + c;
        t.x = x + image * s.H * s.W * s.C + c;
        t.y = y + y_image;
        t.residual = residual ? residual + y_image : nullptr;
        if (channels == kLanes)
          line<true>(s, t, whole, row % P);
        else
          line<false>(s, t, part, row % P);
      }
    }
  }
}

}  // namespace espalier::kernels
