#pragma once
// The register tiles of the CPU's pointwise convolution for training: what becomes of a product's sums while
// they are in registers.

#include "kernels/conv2d_tile.h"
#include "kernels/matrix_tile.h"

namespace espalier::kernels::pointwise {

using simd::kLanes;
using simd::load_part;
using simd::store_part;
using simd::Vector;

/// y = act(a b + bias + residual), or y = a b with sums of y - pivot and its square.
struct ForwardTile {
  const float *a, *b, *bias, *residual;
  const float* pivot;
  float *y, *sum, *square;  // these and pivot null unless moments are wanted
  int64_t a_row, b_block, y_row;
  int depth, channels;
  Activation act;

  template <int MR, int NR>
  static void run(const ForwardTile& t) {
    TileSums<MR, NR> v;
    multiply_rows<MR, NR>(t.a, t.a_row, t.b, t.b_block, t.depth, v);
    const VectorActivation act(t.act);
#pragma GCC unroll 16
    for (int j = 0; j < NR; ++j) {
      const int n = t.channels - j * kLanes;
      float* y = t.y + j * kLanes;
      if (t.sum) {
        const Vector pivot = simd::load(t.pivot + j * kLanes);
        Vector sum = simd::load(t.sum + j * kLanes), square = simd::load(t.square + j * kLanes);
#pragma GCC unroll 16
        for (int m = 0; m < MR; ++m) {
          const Vector d = simd::subtract(v[m][j], pivot);
          sum = simd::add(sum, d);
          square = simd::fma(d, d, square);
          store_part(y + m * t.y_row, v[m][j], n);
        }
        simd::store(t.sum + j * kLanes, sum);
        simd::store(t.square + j * kLanes, square);
      } else {
        const Vector bias = t.bias ? load_part(t.bias + j * kLanes, n) : simd::zero();
#pragma GCC unroll 16
        for (int m = 0; m < MR; ++m) {
          Vector out = simd::add(v[m][j], bias);
          if (t.residual) out = simd::add(out, load_part(t.residual + j * kLanes + m * t.y_row, n));
          store_part(y + m * t.y_row, act(out), n);
        }
      }
    }
  }
};

/// dx = (a b) * act'(z) * factor, with sums of G = (a b) * act'(z) and of G * (x - mean); dx = a b without a
/// norm.
struct BackwardXTile {
  const float *a, *b;
  const float *z, *x, *factor, *mean;  // z null without a norm; factor and mean whole vectors
  float *dx, *sum, *product;
  int64_t a_row, b_block, z_row, x_row;
  int depth, channels;
  Activation act;

  template <int MR, int NR>
  static void run(const BackwardXTile& t) {
    TileSums<MR, NR> v;
    multiply_rows<MR, NR>(t.a, t.a_row, t.b, t.b_block, t.depth, v);
    const Vector slope = simd::broadcast(t.act.slope), cap = simd::broadcast(t.act.cap);
#pragma GCC unroll 16
    for (int j = 0; j < NR; ++j) {
      const int n = t.channels - j * kLanes;
      float* dx = t.dx + j * kLanes;
      if (!t.z) {
#pragma GCC unroll 16
        for (int m = 0; m < MR; ++m) store_part(dx + m * t.x_row, v[m][j], n);
        continue;
      }
      const Vector factor = simd::load(t.factor + j * kLanes), mean = simd::load(t.mean + j * kLanes);
      Vector sum = simd::load(t.sum + j * kLanes), product = simd::load(t.product + j * kLanes);
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) {
        const Vector z = simd::load(t.z + j * kLanes + m * t.z_row);
        const Vector x = load_part(t.x + j * kLanes + m * t.x_row, n);
        Vector g = simd::if_greater(z, simd::zero(), v[m][j], simd::multiply(slope, v[m][j]));
        g = simd::if_greater(cap, z, g, simd::zero());
        sum = simd::add(sum, g);
        product = simd::fma(g, simd::subtract(x, mean), product);
        store_part(dx + m * t.x_row, simd::multiply(g, factor), n);
      }
      simd::store(t.sum + j * kLanes, sum);
      simd::store(t.product + j * kLanes, product);
    }
  }
};

/// dw += a^T b over the rows of a block.
struct BackwardWTile {
  const float *a, *b;
  float* dw;
  int64_t a_step, b_step, dw_row;
  int depth;

  template <int MR, int NR>
  static void run(const BackwardWTile& t) {
    TileSums<MR, NR> v;
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 16
      for (int j = 0; j < NR; ++j) v[m][j] = simd::zero();
    multiply_columns<MR, NR>(t.a, t.a_step, t.b, t.b_step, t.depth, v);
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 16
      for (int j = 0; j < NR; ++j) {
        float* dw = t.dw + m * t.dw_row + j * kLanes;
        simd::store(dw, simd::add(simd::load(dw), v[m][j]));
      }
  }
};

}  // namespace espalier::kernels::pointwise
