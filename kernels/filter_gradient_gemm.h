#pragma once
// A convolution's filter gradient as a matrix product: rows are filters, columns (r, s, c), and the terms of
// a sum are output pixels. The pixels are split in parts whose number depends on the shapes alone; each part
// writes its own sums, which a second kernel adds up in order.

#include "kernels/divisor.h"
#include "kernels/implicit_gemm.h"

namespace espalier::kernels {

/// kUnit is the bytes of one copy: 16 needs C and the number of filters in fours, 4 takes any.
template <class Math, class Tile, int kUnit, class Load = PlainLoad>
struct FilterGradientGemm {
  static_assert(Math::kPerWord == 1, "fp32 in memory");
  static constexpr int kStages = 3;
  static constexpr int kPixels = 32;  ///< of a step
  static constexpr int kThreads = Tile::kThreads, kBlocks = Tile::kBlocks;
  static constexpr int kStageWords = (Tile::kM + Tile::kN) * kPixels;
  static constexpr int kSharedBytes = kStages * kStageWords * 4;
  using Sum = float;

  Gather g;  ///< of the forward convolution; no upsampling
  Divisor by_p, by_q;
  int filters, column_tiles;  ///< block.x = row tile * column_tiles + column tile
  int part_steps;             ///< steps of one part; block.z is the part
  const float *x, *dy;
  float* sums;     ///< [parts, filters, R*S*C]
  Load load = {};  ///< of x

  ESPALIER_SIMT void operator()() const {
    using namespace warp;
    uint32_t* stages = reinterpret_cast<uint32_t*>(shared());
    const int first_row = block().x / column_tiles * Tile::kM;
    const int first_column = block().x % column_tiles * Tile::kN;
    const int steps_in_all = (pixels() + kPixels - 1) / kPixels;
    const int first_step = block().z * part_steps;
    const int steps = steps_in_all - first_step < part_steps ? steps_in_all - first_step : part_steps;
    const int column = first_column + thread() % (Tile::kN / kUnitWords) * kUnitWords;
    const Place tap = {column / g.C / g.S, column / g.C % g.S, column % g.C, column < columns()};

    const int own = thread() / kLanes % Tile::kWarpsN * 32 + thread() % kLanes / 4 * 4;
    const typename Load::State state = load.begin(first_column + own, g.C);

    Sum sum[Tile::kRowTiles][Tile::kColumnTiles][4] = {};
    ESPALIER_UNROLL
    for (int s = 0; s < kStages - 1; ++s) {
      if (s < steps) fetch(stages + s * kStageWords, (first_step + s) * kPixels, first_row, tap);
      commit_copies();
    }
    for (int step = 0; step < steps; ++step) {
      wait_copies<kStages - 2>();
      barrier();
      const int next = step + kStages - 1;
      if (next < steps)
        fetch(stages + next % kStages * kStageWords, (first_step + next) * kPixels, first_row, tap);
      commit_copies();
      multiply(stages + step % kStages * kStageWords, state, sum);
    }
    store(first_row, first_column, sum);
  }

 private:
  static constexpr int kUnitWords = kUnit / 4;

  /// A column of the product.
  struct Place {
    int r, t, c;
    bool valid;
  };

  ESPALIER_SIMT int columns() const { return g.R * g.S * g.C; }
  ESPALIER_SIMT int pixels() const { return g.N * g.P * g.Q; }

  /// Groups of eight words trade places from four pixels to the next, so that eight lanes' loads hit all
  /// banks.
  template <int kWidth>
  ESPALIER_SIMT static int place(int pixel, int column) {
    return pixel * kWidth + (column ^ ((pixel >> 2 & 3) << 3));
  }

  ESPALIER_SIMT void fetch(uint32_t* stage, int first_pixel, int first_row, const Place& tap) const {
    constexpr int kLeftUnits = Tile::kM / kUnitWords, kLeftAtOnce = kThreads / kLeftUnits;
    static_assert(kThreads % kLeftUnits == 0 && kPixels % kLeftAtOnce == 0);
    const int filter = warp::thread() % kLeftUnits * kUnitWords;
    ESPALIER_UNROLL
    for (int i = 0; i < kPixels; i += kLeftAtOnce) {
      const int at = i + warp::thread() / kLeftUnits, pixel = first_pixel + at, k = first_row + filter;
      const bool valid = pixel < pixels() && k < filters;
      warp::copy_async<kUnit>(stage + place<Tile::kM>(at, filter),
                              dy + (valid ? int64_t{pixel} * filters + k : 0), valid);
    }
    constexpr int kRightUnits = Tile::kN / kUnitWords, kRightAtOnce = kThreads / kRightUnits;
    static_assert(kThreads % kRightUnits == 0 && kPixels % kRightAtOnce == 0);
    uint32_t* right = stage + Tile::kM * kPixels;
    const int column = warp::thread() % kRightUnits * kUnitWords;
    ESPALIER_UNROLL
    for (int i = 0; i < kPixels; i += kRightAtOnce) {
      const int at = i + warp::thread() / kRightUnits, pixel = first_pixel + at;
      const int line = by_q.divide(pixel), n = by_p.divide(line);
      const int h = (line - n * g.P) * g.step - g.top + tap.r,
                v = (pixel - line * g.Q) * g.step - g.left + tap.t;
      const bool valid = tap.valid && pixel < pixels() && h >= 0 && h < g.H && v >= 0 && v < g.W;
      warp::copy_async<kUnit>(right + place<Tile::kN>(at, column),
                              x + (valid ? ((int64_t{n} * g.H + h) * g.W + v) * g.C + tap.c : 0), valid);
    }
  }

  /// Row tile 2b + i, half h of a warp's block b of 32 filters are filters 4*group + 2i + h, column tile j
  /// has columns 4*group + j: so every load is 16 bytes.
  ESPALIER_SIMT void multiply(const uint32_t* stage, const typename Load::State& state,
                              Sum (&sum)[Tile::kRowTiles][Tile::kColumnTiles][4]) const {
    using warp::Word4;
    const int lane = warp::thread() % warp::kLanes, number = warp::thread() / warp::kLanes;
    const int group = lane / 4, t = lane % 4;
    const int left = number / Tile::kWarpsN * 16 * Tile::kRowTiles + 4 * group;
    const int right = number % Tile::kWarpsN * 32 + 4 * group;
    ESPALIER_UNROLL
    for (int chunk = 0; chunk < kPixels; chunk += 16) {
      typename Math::B b[Tile::kColumnTiles];
      {
        Word4 w[4];
        ESPALIER_UNROLL
        for (int j = 0; j < 4; ++j)
          w[j] = Load::apply(
              load, state,
              warp::load4(stage + Tile::kM * kPixels + place<Tile::kN>(chunk + 4 * t + j, right)));
        ESPALIER_UNROLL
        for (int e = 0; e < 4; ++e) b[e] = Math::right({{w[0].v[e], w[1].v[e], w[2].v[e], w[3].v[e]}});
      }
      ESPALIER_UNROLL
      for (int i = 0; i < Tile::kRowTiles; i += 2) {
        Word4 w[4];
        ESPALIER_UNROLL
        for (int j = 0; j < 4; ++j)
          w[j] = warp::load4(stage + place<Tile::kM>(chunk + 4 * t + j, left + 16 * i));
        ESPALIER_UNROLL
        for (int e = 0; e < 2; ++e) {
          const typename Math::A a =
              Math::left({{w[0].v[2 * e], w[1].v[2 * e], w[2].v[2 * e], w[3].v[2 * e]}},
                         {{w[0].v[2 * e + 1], w[1].v[2 * e + 1], w[2].v[2 * e + 1], w[3].v[2 * e + 1]}});
          ESPALIER_UNROLL
          for (int j = 0; j < Tile::kColumnTiles; ++j) Math::multiply(sum[i + e][j], a, b[j]);
        }
      }
    }
  }

  ESPALIER_SIMT void store(int first_row, int first_column,
                           const Sum (&sum)[Tile::kRowTiles][Tile::kColumnTiles][4]) const {
    const int lane = warp::thread() % warp::kLanes, number = warp::thread() / warp::kLanes;
    const int row = first_row + number / Tile::kWarpsN * 16 * Tile::kRowTiles + lane / 4 * 4;
    const int column = first_column + number % Tile::kWarpsN * 32 + lane % 4 * 8;
    float* to = sums + int64_t{warp::block().z} * filters * columns();
    ESPALIER_UNROLL
    for (int i = 0; i < Tile::kRowTiles; ++i) ESPALIER_UNROLL
    for (int half = 0; half < 2; ++half) ESPALIER_UNROLL
    for (int side = 0; side < 2; ++side) {
      const int k = row + i / 2 * 32 + i % 2 * 2 + half, at = column + 4 * side;
      if (k >= filters || at >= columns()) continue;
      float* out = to + int64_t{k} * columns() + at;
      if constexpr (kUnit == 16) {
        warp::Float4 v;
        ESPALIER_UNROLL
        for (int j = 0; j < 4; ++j) v.v[j] = sum[i][j][2 * half + side];
        warp::store4(out, v);
      } else {
        ESPALIER_UNROLL
        for (int j = 0; j < 4; ++j)
          if (at + j < columns()) out[j] = sum[i][j][2 * half + side];
      }
    }
  }
};

}  // namespace espalier::kernels
