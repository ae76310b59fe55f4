#pragma once
// The register tile of prepared dense convolutions and linear layers: MR output pixels x NR vectors of
// channels.

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

inline simd::Vector activate(simd::Vector v, Activation act) {
  using namespace simd;
  if (act.slope == 0)
    v = simd::max(v, zero());
  else if (act.slope != 1)
    v = simd::fma(broadcast(act.slope), simd::min(v, zero()), simd::max(v, zero()));
  return act.cap == Activation::kNoCap ? v : simd::min(v, broadcast(act.cap));
}

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
  const int tail = t.channels - (NR - 1) * kLanes;
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 16
    for (int j = 0; j < NR; ++j) {
      const int64_t at = m * t.y_row + j * kLanes;
      const bool whole = j + 1 < NR || tail == kLanes;
      Vector v = sum[m][j];
      if (t.residual) v = add(v, whole ? load(t.residual + at) : load(t.residual + at, tail));
      v = activate(v, t.act);
      if (whole)
        store(t.y + at, v);
      else
        store(t.y + at, v, tail);
    }
}

}  // namespace espalier::kernels
