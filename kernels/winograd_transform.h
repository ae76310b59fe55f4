#pragma once
// The transforms of winograd.h in registers. Only kernels/*winograd*.cpp include this.

#include <algorithm>
#include <cstdint>

#include "kernels/conv_shape.h"
#include "kernels/simd.h"
#include "kernels/winograd_tiles.h"

namespace espalier::kernels::winograd {

using simd::kLanes;
using simd::Vector;

/// A tile has kOut x kOut outputs, which see kIn x kIn inputs.
constexpr int kOut = 4, kIn = 6, kPoints = kIn * kIn;

/// B' of six values, the points being 0, 1, -1, 2, -2 and infinity.
inline void transform_input(const Vector d[kIn], Vector t[kIn]) {
  using namespace simd;
  const Vector two = broadcast(2), minus_two = broadcast(-2), four = broadcast(4), minus_four = broadcast(-4),
               minus_five = broadcast(-5);
  const Vector a = fma(minus_four, d[2], d[4]), b = fma(minus_four, d[1], d[3]);
  const Vector c = subtract(d[4], d[2]), e = subtract(d[3], d[1]);
  t[0] = fma(four, d[0], fma(minus_five, d[2], d[4]));
  t[1] = add(a, b);
  t[2] = subtract(a, b);
  t[3] = fma(two, e, c);
  t[4] = fma(minus_two, e, c);
  t[5] = fma(four, d[1], fma(minus_five, d[3], d[5]));
}

/// A' of six values.
inline void transform_output(const Vector m[kIn], Vector y[kOut]) {
  using namespace simd;
  const Vector two = broadcast(2), four = broadcast(4), eight = broadcast(8);
  const Vector p = add(m[1], m[2]), q = subtract(m[1], m[2]), r = add(m[3], m[4]), s = subtract(m[3], m[4]);
  y[0] = add(add(m[0], p), r);
  y[1] = fma(two, s, q);
  y[2] = fma(four, r, p);
  y[3] = add(fma(eight, s, q), m[5]);
}

/// A of four values: the gradient of transform_output().
inline void transform_gradient(const Vector y[kOut], Vector m[kIn]) {
  using namespace simd;
  const Vector two = broadcast(2), four = broadcast(4), eight = broadcast(8);
  const Vector even = add(y[0], y[2]), odd = add(y[1], y[3]);
  const Vector far_even = fma(four, y[2], y[0]), far_odd = fma(eight, y[3], multiply(two, y[1]));
  m[0] = y[0];
  m[1] = add(even, odd);
  m[2] = subtract(even, odd);
  m[3] = add(far_even, far_odd);
  m[4] = subtract(far_even, far_odd);
  m[5] = y[3];
}

/// G' of six values: the gradient of transform_filter().
inline void transform_filter_gradient(const Vector u[kIn], Vector g[3]) {
  using namespace simd;
  const Vector quarter = broadcast(1 / 4.0f), sixth = broadcast(1 / 6.0f), twelfth = broadcast(1 / 12.0f),
               twenty_fourth = broadcast(1 / 24.0f);
  const Vector near_sum = multiply(sixth, add(u[1], u[2])), far_sum = add(u[3], u[4]);
  g[0] = fma(twenty_fourth, far_sum, subtract(multiply(quarter, u[0]), near_sum));
  g[1] = fma(twelfth, subtract(u[3], u[4]), multiply(sixth, subtract(u[2], u[1])));
  g[2] = add(fma(sixth, far_sum, u[5]), subtract(zero(), near_sum));
}

/// body(at, load, store) for every vector of `count` floats, the last one with loads and stores of what is
/// left.
template <class Body>
void for_vectors(int count, const Body& body) {
  int at = 0;
  for (; at + kLanes <= count; at += kLanes)
    body(
        at, [](const float* p) { return simd::load(p); }, [](float* p, Vector v) { simd::store(p, v); });
  if (const int tail = count - at)
    body(
        at, [=](const float* p) { return simd::load(p, tail); },
        [=](float* p, Vector v) { simd::store(p, v, tail); });
}

/// G of three values.
inline void transform_filter(const Vector g[3], Vector u[kIn]) {
  using namespace simd;
  const Vector quarter = broadcast(1 / 4.0f), sixth = broadcast(-1 / 6.0f);
  const Vector twelfth = broadcast(1 / 12.0f), other_sixth = broadcast(1 / 6.0f),
               twenty_fourth = broadcast(1 / 24.0f);
  const Vector ends = add(g[0], g[2]), far = fma(twenty_fourth, g[0], multiply(other_sixth, g[2]));
  const Vector middle = multiply(twelfth, g[1]);
  u[0] = multiply(quarter, g[0]);
  u[1] = multiply(sixth, add(ends, g[1]));
  u[2] = multiply(sixth, subtract(ends, g[1]));
  u[3] = add(far, middle);
  u[4] = subtract(far, middle);
  u[5] = g[2];
}

/// G w G' of a vector of filters, w[3][3] of them; store(point, vector).
template <class Store>
void transform_filters(const Vector w[3][3], const Store& store) {
  Vector half[3][kIn];  // [column of w][row of u]
  for (int c = 0; c < 3; ++c) {
    const Vector g[3] = {w[0][c], w[1][c], w[2][c]};
    transform_filter(g, half[c]);
  }
  for (int i = 0; i < kIn; ++i) {
    const Vector g[3] = {half[0][i], half[1][i], half[2][i]};
    Vector u[kIn];
    transform_filter(g, u);
    for (int j = 0; j < kIn; ++j) store(i * kIn + j, u[j]);
  }
}

/// Floats of a line of a run of `tiles` tiles of `channels` channels.
inline int64_t line_floats(int tiles, int channels) { return (int64_t{tiles} * kOut + 2) * channels; }

/// V[point][tile][count] of the run's tiles and channels [c0, c0 + count) of x, of which v is point 0. Down
/// the lines first, which are read as they lie and serve both tiles that share a column. `zeros` are a line
/// of the run, `lines` has room for kIn of them.
inline void transform_run(const ConvShape& s, const float* x, const Run& run, int c0, int count,
                          const float* zeros, float* lines, float* v, int64_t point_step) {
  const int width = run.tiles * kOut + 2, left = run.q - s.pad.left, top = run.p - s.pad.top;
  const int first = std::clamp(-left, 0, width), last = std::clamp(s.W - left, first, width);
  const int64_t line = int64_t{width} * count;
  const float* from[kIn];
  int64_t step[kIn];  // between pixels
  for (int i = 0; i < kIn; ++i) {
    const bool inside = top + i >= 0 && top + i < s.H;
    from[i] = inside ? x + ((int64_t{run.n} * s.H + top + i) * s.W + left + first) * s.C + c0 : zeros;
    step[i] = inside ? s.C : count;
    std::fill_n(lines + i * line, int64_t{first} * count, 0.0f);
    std::fill_n(lines + i * line + int64_t{last} * count, int64_t{width - last} * count, 0.0f);
  }
  // All channels of the pixels lie one behind the other.
  const bool whole = count == s.C;
  const int pieces = whole ? 1 : last - first, length = whole ? (last - first) * s.C : count;
  for (int piece = 0; piece < pieces; ++piece)
    for_vectors(length, [&](int at, const auto& load, const auto& store) {
      Vector d[kIn], t[kIn];
#pragma GCC unroll 6
      for (int i = 0; i < kIn; ++i) d[i] = load(from[i] + piece * step[i] + at);
      transform_input(d, t);
      float* to = lines + int64_t{first + piece} * count + at;
#pragma GCC unroll 6
      for (int i = 0; i < kIn; ++i) store(to + i * line, t[i]);
    });
  for (int tile = 0; tile < run.tiles; ++tile, v += count)
    for (int i = 0; i < kIn; ++i) {
      const float* at_tile = lines + i * line + int64_t{tile} * kOut * count;
      for_vectors(count, [&](int c, const auto& load, const auto& store) {
        Vector d[kIn], t[kIn];
#pragma GCC unroll 6
        for (int j = 0; j < kIn; ++j) d[j] = load(at_tile + int64_t{j} * count + c);
        transform_input(d, t);
#pragma GCC unroll 6
        for (int j = 0; j < kIn; ++j) store(v + (i * kIn + j) * point_step + c, t[j]);
      });
    }
}

}  // namespace espalier::kernels::winograd
