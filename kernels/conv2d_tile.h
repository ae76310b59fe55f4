#pragma once
// The register tile of prepared dense convolutions and linear layers: MR output pixels x NR vectors of
// channels.

#include <type_traits>

#include "kernels/activation.h"
#include "kernels/simd.h"

namespace espalier::kernels {

/// y[m,k] = act(bias[k] + sum over l, i of x[m*x_row + l*x_line + i] * w[l*w_line + i*kLanes + k] +
/// residual[m,k]). The channels k are NR blocks of kLanes; block j's weights start w_block floats after those
/// of block j-1.
struct ConvTile {
  const float *x, *w, *bias, *residual;  // bias covers whole blocks; residual may be null
  float* y;
  int64_t x_row, x_line, w_line, w_block, y_row;
  int lines, run;  // a sum has `lines` contiguous runs
  int channels;    // of the NR blocks that exist: more than (NR - 1) * kLanes
  Activation act;
};

/// An activation in registers. Without branches: the compiler would reload and test it for every vector.
struct VectorActivation {
  simd::Vector slope, cap;
  explicit VectorActivation(Activation act)
      : slope(simd::broadcast(act.slope)), cap(simd::broadcast(act.cap)) {}
  simd::Vector operator()(simd::Vector v) const {
    using namespace simd;
    return simd::min(cap, simd::fma(slope, simd::min(zero(), v), simd::max(zero(), v)));
  }
};

template <int MR, int NR>
void conv_tile(const ConvTile& t) {
  using namespace simd;
  Vector sum[MR][NR];
#pragma GCC unroll 16
  for (int j = 0; j < NR; ++j) {
    const Vector b = load(t.bias + j * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) sum[m][j] = b;
  }
  // Rows are reached from every third one: sixteen pointers would not fit the registers.
  constexpr int kBases = (MR + 2) / 3;
  const int64_t row = t.x_row;
  for (int l = 0; l < t.lines; ++l) {
    const float* base[kBases];
#pragma GCC unroll 16
    for (int b = 0; b < kBases; ++b) base[b] = t.x + l * t.x_line + 3 * b * row;
    const float* w = t.w + l * t.w_line;
    for (int i = 0; i < t.run; ++i) {
      Vector filter[NR];
#pragma GCC unroll 16
      for (int j = 0; j < NR; ++j) filter[j] = load(w + j * t.w_block);
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) {
        const Vector pixel = broadcast(base[m / 3][(m % 3) * row]);
#pragma GCC unroll 16
        for (int j = 0; j < NR; ++j) sum[m][j] = simd::fma(pixel, filter[j], sum[m][j]);
      }
      w += kLanes;
#pragma GCC unroll 16
      for (int b = 0; b < kBases; ++b) ++base[b];
    }
  }
  const VectorActivation act(t.act);
  const int tail = t.channels - (NR - 1) * kLanes;
  float* y = t.y;
  const int64_t y_row = t.y_row;
  const auto finish = [&](int j, auto whole) {
    const auto load_y = [&](const float* p) { return whole ? load(p) : load(p, tail); };
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
      if (t.residual) sum[m][j] = add(sum[m][j], load_y(t.residual + m * y_row + j * kLanes));
      const Vector v = act(sum[m][j]);
      if (whole)
        store(y + m * y_row + j * kLanes, v);
      else
        store(y + m * y_row + j * kLanes, v, tail);
    }
  };
#pragma GCC unroll 16
  for (int j = 0; j + 1 < NR; ++j) finish(j, std::true_type());
  if (tail == kLanes)
    finish(NR - 1, std::true_type());
  else
    finish(NR - 1, std::false_type());
}

}  // namespace espalier::kernels
