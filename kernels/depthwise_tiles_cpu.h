#pragma once
// The register tiles of the CPU's depthwise convolution for training: some neighbouring pixels of a line, one
// block of channels. The backward tiles make both gradients from one reading.

#include <array>
#include <cstdint>
#include <utility>

#include "kernels/activation.h"
#include "kernels/depthwise_lines_cpu.h"

namespace espalier::kernels::depthwise {

inline constexpr int kMostLines = 8;  ///< of a filter: a tile has a pointer for each

/// Some neighbouring pixels of an output line, one block of channels.
struct ForwardTile {
  std::array<const float*, kMostLines> x;  ///< the lines under the filter, at the tile's first column
  const float *w, *bias, *residual;        ///< w [R*S][lanes] of the first of the lines
  const float* pivot;                      ///< whole vectors
  float *y, *sums;                         ///< sums [2][lanes] of y - pivot and of its square, or null
  int lines, S, stride, channels;
  int64_t pixel;  ///< of y and residual
  Activation act;
};

template <int QT>
void finish_forward(const ForwardTile& t, const Vector (&sum)[QT]) {
  if (t.sums) {
    const Vector pivot = simd::load(t.pivot);
    Vector first = simd::load(t.sums), second = simd::load(t.sums + kLanes);
#pragma GCC unroll 16
    for (int q = 0; q < QT; ++q) {
      const Vector d = simd::subtract(sum[q], pivot);
      first = simd::add(first, d);
      second = simd::fma(d, d, second);
      store_part(t.y + q * t.pixel, sum[q], t.channels);
    }
    simd::store(t.sums, first);
    simd::store(t.sums + kLanes, second);
    return;
  }
  const VectorActivation act(t.act);
  const Vector bias = t.bias ? load_part(t.bias, t.channels) : simd::zero();
#pragma GCC unroll 16
  for (int q = 0; q < QT; ++q) {
    Vector v = simd::add(sum[q], bias);
    if (t.residual) v = simd::add(v, load_part(t.residual + q * t.pixel, t.channels));
    store_part(t.y + q * t.pixel, act(v), t.channels);
  }
}

template <int S, int kStride, int QT>
void forward_tile(const ForwardTile& t) {
  Vector sum[QT];
#pragma GCC unroll 16
  for (int q = 0; q < QT; ++q) sum[q] = simd::zero();
  for (int r = 0; r < t.lines; ++r) {
    Vector filter[S];
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) filter[s] = simd::load(t.w + (r * S + s) * kLanes);
    const float* x = t.x[static_cast<size_t>(r)];
#pragma GCC unroll 32
    for (int i = 0; i < (QT - 1) * kStride + S; ++i) {
      Vector in = simd::load(x + i * kLanes);
      simd::hold(in);
#pragma GCC unroll 16
      for (int q = 0; q < QT; ++q)
        if (const int s = i - q * kStride; s >= 0 && s < S) sum[q] = simd::fma(in, filter[s], sum[q]);
    }
  }
  finish_forward<QT>(t, sum);
}

inline void forward_any(const ForwardTile& t) {
  Vector sum[1] = {simd::zero()};
  for (int r = 0; r < t.lines; ++r)
    for (int s = 0; s < t.S; ++s)
      sum[0] = simd::fma(simd::load(t.x[static_cast<size_t>(r)] + s * kLanes),
                         simd::load(t.w + (r * t.S + s) * kLanes), sum[0]);
  finish_forward<1>(t, sum);
}

/// A block of channels and some neighbouring input pixels of one line, whose gradients the lines of dy make.
struct BackwardTile {
  std::array<const float*, kMostLines>
      dy;                         ///< at the first column that s = 0 meets at the tile's first pixel
  std::array<int, kMostLines> r;  ///< the filter's line that meets it
  const float *w, *z, *x;         ///< w [R*S][lanes]; x null without a norm
  const float *factor, *mean;
  float *dx, *dw, *sums;  ///< dw [R*S][lanes], added to; dx may be null
  int lines, S, stride, channels;
  int first, last;  ///< the pixels of the tile that exist, counted from z
  int64_t pixel;    ///< of x and dx
  Activation act;
};

template <int VT>
void finish_backward(const BackwardTile& t, const Vector (&dz)[VT], bool whole) {
  if (!t.dx) return;
  const int first = whole ? 0 : t.first, last = whole ? VT : t.last;
  if (!t.x) {
#pragma GCC unroll 16
    for (int v = 0; v < VT; ++v)
      if (v >= first && v < last) store_part(t.dx + v * t.pixel, dz[v], t.channels);
    return;
  }
  const Vector slope = simd::broadcast(t.act.slope), cap = simd::broadcast(t.act.cap);
  const Vector factor = simd::load(t.factor), mean = simd::load(t.mean);
  Vector sum = simd::load(t.sums), product = simd::load(t.sums + kLanes);
#pragma GCC unroll 16
  for (int v = 0; v < VT; ++v) {
    if (v < first || v >= last) continue;
    const Vector z = simd::load(t.z + v * kLanes), x = load_part(t.x + v * t.pixel, t.channels);
    Vector g = simd::if_greater(z, simd::zero(), dz[v], simd::multiply(slope, dz[v]));
    g = simd::if_greater(cap, z, g, simd::zero());
    sum = simd::add(sum, g);
    product = simd::fma(g, simd::subtract(x, mean), product);
    store_part(t.dx + v * t.pixel, simd::multiply(g, factor), t.channels);
  }
  simd::store(t.sums, sum);
  simd::store(t.sums + kLanes, product);
}

/// Stride 1, filters of 3 columns: dy column v - s meets pixel v.
template <int VT>
void backward_tile_1(const BackwardTile& t) {
  constexpr int S = 3;
  Vector dz[VT], z[VT];
#pragma GCC unroll 16
  for (int v = 0; v < VT; ++v) {
    dz[v] = simd::zero();
    z[v] = simd::load(t.z + v * kLanes);
    simd::hold(z[v]);
  }
  for (int i = 0; i < t.lines; ++i) {
    const int at = t.r[static_cast<size_t>(i)] * S * kLanes;
    Vector filter[S], total[S];
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) {
      filter[s] = simd::load(t.w + at + s * kLanes);
      total[s] = simd::load(t.dw + at + s * kLanes);
    }
    const float* dy = t.dy[static_cast<size_t>(i)];
#pragma GCC unroll 32
    for (int q = 1 - S; q < VT; ++q) {
      Vector g = simd::load(dy + q * kLanes);
      simd::hold(g);
#pragma GCC unroll 16
      for (int s = 0; s < S; ++s)
        if (const int v = q + s; v >= 0 && v < VT) {
          dz[v] = simd::fma(g, filter[s], dz[v]);
          total[s] = simd::fma(g, z[v], total[s]);
        }
    }
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) simd::store(t.dw + at + s * kLanes, total[s]);
  }
  finish_backward<VT>(t, dz, true);
}

/// Stride 2, filters of 3 columns: dy column j meets pixel 2j with s = 0, 2j + 1 with s = 1 and 2j + 2 with
/// s = 2. The tile is JT pairs of pixels, the first at an even padded column.
template <int JT>
void backward_tile_2(const BackwardTile& t) {
  constexpr int S = 3, VT = 2 * JT;
  Vector dz[VT];
#pragma GCC unroll 16
  for (int v = 0; v < VT; ++v) dz[v] = simd::zero();
  for (int i = 0; i < t.lines; ++i) {
    const int at = t.r[static_cast<size_t>(i)] * S * kLanes;
    Vector filter[S], total[S];
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) {
      filter[s] = simd::load(t.w + at + s * kLanes);
      total[s] = simd::load(t.dw + at + s * kLanes);
    }
    const float* dy = t.dy[static_cast<size_t>(i)];
    Vector before = simd::load(dy - kLanes);
#pragma GCC unroll 16
    for (int j = 0; j < JT; ++j) {
      Vector g = simd::load(dy + j * kLanes);
      simd::hold(g);
      Vector even = simd::load(t.z + 2 * j * kLanes);
      simd::hold(even);
      const Vector odd = simd::load(t.z + (2 * j + 1) * kLanes);
      dz[2 * j] = simd::fma(before, filter[2], simd::fma(g, filter[0], dz[2 * j]));
      dz[2 * j + 1] = simd::fma(g, filter[1], dz[2 * j + 1]);
      total[0] = simd::fma(g, even, total[0]);
      total[1] = simd::fma(g, odd, total[1]);
      total[2] = simd::fma(before, even, total[2]);
      before = g;
    }
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) simd::store(t.dw + at + s * kLanes, total[s]);
  }
  finish_backward<VT>(t, dz, t.first == 0 && t.last >= VT);
}

/// One pixel, any filter and stride; `column` is its padded column.
inline void backward_any(const BackwardTile& t, int column) {
  Vector dz[1] = {simd::zero()};
  const Vector z = simd::load(t.z);
  for (int i = 0; i < t.lines; ++i)
    for (int s = column % t.stride; s < t.S; s += t.stride) {
      const int at = (t.r[static_cast<size_t>(i)] * t.S + s) * kLanes;
      const Vector g = simd::load(t.dy[static_cast<size_t>(i)] + (column - s) / t.stride * kLanes);
      dz[0] = simd::fma(g, simd::load(t.w + at), dz[0]);
      simd::store(t.dw + at, simd::fma(g, z, simd::load(t.dw + at)));
    }
  finish_backward<1>(t, dz, true);
}

using ForwardFunction = void (*)(const ForwardTile&);
using BackwardFunction = void (*)(const BackwardTile&);
inline constexpr int kForwardPixels = simd::kRegisters >= 32 ? 8 : 4;
inline constexpr int kBackwardPixels = 7, kBackwardPairs = 4;

template <int S, int kStride, int... Q>
constexpr auto forward_row(std::integer_sequence<int, Q...>) {
  return std::array<ForwardFunction, sizeof...(Q) + 1>{nullptr, forward_tile<S, kStride, Q + 1>...};
}
template <int... V>
constexpr auto backward_row_1(std::integer_sequence<int, V...>) {
  return std::array<BackwardFunction, sizeof...(V) + 1>{nullptr, backward_tile_1<V + 1>...};
}
template <int... J>
constexpr auto backward_row_2(std::integer_sequence<int, J...>) {
  return std::array<BackwardFunction, sizeof...(J) + 1>{nullptr, backward_tile_2<J + 1>...};
}

inline constexpr std::make_integer_sequence<int, kForwardPixels> kForwardCounts;
inline constexpr auto kForward31 = forward_row<3, 1>(kForwardCounts),
                      kForward32 = forward_row<3, 2>(kForwardCounts),
                      kForward51 = forward_row<5, 1>(kForwardCounts),
                      kForward52 = forward_row<5, 2>(kForwardCounts);
inline constexpr auto kBackward1 = backward_row_1(std::make_integer_sequence<int, kBackwardPixels>());
inline constexpr auto kBackward2 = backward_row_2(std::make_integer_sequence<int, kBackwardPairs>());

/// By the number of pixels of a tile; null where forward_any() has to do.
inline const ForwardFunction* forward_functions(int S, int stride) {
  if (S == 3) return stride == 1 ? kForward31.data() : stride == 2 ? kForward32.data() : nullptr;
  if (S == 5) return stride == 1 ? kForward51.data() : stride == 2 ? kForward52.data() : nullptr;
  return nullptr;
}

}  // namespace espalier::kernels::depthwise
