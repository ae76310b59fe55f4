#pragma once
// What a dense convolution's loop does with its sums besides storing them: gathers the moments of each output
// channel, or takes a gradient back through the norm of its input. Both leave sums per block of rows, which a
// second stage adds up in order.

#include "kernels/channel_reduce.h"
#include "kernels/normed_conv.h"
#include "kernels/warp.h"

namespace espalier::kernels::tiles {

using channels::Moments;
using warp::Float4;

/// y = sum; parts[block of rows, 3, columns] = count, mean and squares of its results.
template <class T>
struct MomentsOutput {
  static constexpr bool kReduces = true;
  static constexpr int kCount = 3;
  /// Of four columns, as distances from the first result.
  struct State {
    Float4 origin, sum, squares;
    float count;
  };
  int columns;
  T* y;
  float* parts;

  ESPALIER_SIMT State begin(int) const { return {}; }
  ESPALIER_SIMT void store(State& s, int row, int column, const float (&v)[4]) const {
    if (s.count == 0) s.origin = {{v[0], v[1], v[2], v[3]}};
    s.count += 1;
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) {
      const float d = v[k] - s.origin.v[k];
      s.sum.v[k] += d;
      s.squares.v[k] += d * d;
    }
    warp::store4(y + int64_t{row} * columns + column, {{v[0], v[1], v[2], v[3]}});
  }
  using Value = Moments;
  ESPALIER_SIMT static Value value(const State& s, int k) {
    if (s.count == 0) return {};
    const float off = s.sum.v[k] / s.count, rest = s.squares.v[k] - s.sum.v[k] * off;
    return {s.count, s.origin.v[k] + off, rest < 0 ? 0.0f : rest};
  }
  ESPALIER_SIMT static Value merge(const Value& a, const Value& b) { return Moments::merge(a, b); }
  ESPALIER_SIMT static Value shuffle(const Value& v, int mask) {
    return {warp::shuffle_xor(v.count, mask), warp::shuffle_xor(v.mean, mask),
            warp::shuffle_xor(v.squares, mask)};
  }
  ESPALIER_SIMT void keep(int block, int column, const Value& v) const {
    float* to = parts + int64_t{block} * kCount * columns + column;
    to[0] = v.count;
    to[columns] = v.mean;
    to[2 * columns] = v.squares;
  }
};

/// dx = G * factor, where what arrives is the gradient of act(factor * x + offset) and G the one before the
/// activation; parts[block of rows, 2, columns] = sums of G and of G * (x - mean).
template <class T>
struct NormGradientOutput {
  static constexpr bool kReduces = true;
  static constexpr int kCount = 2;
  struct State {
    Float4 factor, offset, mean, sum, product;
  };
  int columns;
  const T* x;
  InputNorm norm;
  T* dx;
  float* parts;

  ESPALIER_SIMT State begin(int column) const {
    return {warp::load4(norm.factor + column),
            warp::load4(norm.offset + column),
            warp::load4(norm.mean + column),
            {},
            {}};
  }
  ESPALIER_SIMT void store(State& s, int row, int column, const float (&v)[4]) const {
    const int64_t at = int64_t{row} * columns + column;
    const Float4 in = warp::load4(x + at);
    Float4 out;
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) {
      const float g = norm.act.gradient(fmaf(s.factor.v[k], in.v[k], s.offset.v[k]), v[k]);
      s.sum.v[k] += g;
      s.product.v[k] += g * (in.v[k] - s.mean.v[k]);
      out.v[k] = g * s.factor.v[k];
    }
    warp::store4(dx + at, out);
  }
  struct Value {
    float sum, product;
  };
  ESPALIER_SIMT static Value value(const State& s, int k) { return {s.sum.v[k], s.product.v[k]}; }
  ESPALIER_SIMT static Value merge(const Value& a, const Value& b) {
    return {a.sum + b.sum, a.product + b.product};
  }
  ESPALIER_SIMT static Value shuffle(const Value& v, int mask) {
    return {warp::shuffle_xor(v.sum, mask), warp::shuffle_xor(v.product, mask)};
  }
  ESPALIER_SIMT void keep(int block, int column, const Value& v) const {
    float* to = parts + int64_t{block} * kCount * columns + column;
    to[0] = v.sum;
    to[columns] = v.product;
  }
};

}  // namespace espalier::kernels::tiles
