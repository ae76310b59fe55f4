#pragma once
// A convolution's filter gradient as a matrix product: rows are filters, columns (r, s, c), and the terms of
// a sum are output pixels. The pixels are split in parts whose number depends on the shapes alone; each part
// writes its own sums, which a second kernel adds up in order.

#include "kernels/divisor.h"
#include "kernels/implicit_gemm.h"

namespace espalier::kernels {

/// T is the type in memory, float or Bf16. kUnit is the bytes of one copy of x: 16, 8 and 4 need C in whole
/// units; with 0 each element is read by itself. kLeftUnit is the same for dy and the number of filters.
template <class T, class Math, class Tile, int kUnit, class Load = PlainLoad, int kLeftUnit = kUnit>
struct FilterGradientGemm {
  static constexpr int kPerWord = static_cast<int>(4 / sizeof(T));
  static_assert(Math::kPerWord == kPerWord);
  static constexpr int kStages = 3;
  static constexpr int kPixels = 32 * kPerWord;  ///< of a step
  static constexpr int kThreads = Tile::kThreads, kBlocks = Tile::kBlocks;
  static constexpr int kLeftWords = Tile::kM / kPerWord, kRightWords = Tile::kN / kPerWord;  ///< of a pixel
  static constexpr int kStageWords = (kLeftWords + kRightWords) * kPixels;
  static constexpr int kSharedBytes = kStages * kStageWords * 4;
  using Sum = float;

  Gather g;  ///< of the forward convolution; no upsampling
  Divisor by_p, by_q;
  int filters, column_tiles;  ///< block.x = row tile * column_tiles + column tile
  int part_steps;             ///< steps of one part; block.z is the part
  const T *x, *dy;
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
    Place taps[kTaps];
    ESPALIER_UNROLL
    for (int i = 0; i < kTaps; ++i)
      taps[i] = place_of(first_column + thread() % (Tile::kN / Right::kElements) * Right::kElements + i);

    const int own = thread() / kLanes % Tile::kWarpsN * 32 + thread() % kLanes / 4 * 4;
    const typename Load::State state = load.begin(first_column + own, g.C);

    Sum sum[Tile::kRowTiles][Tile::kColumnTiles][4] = {};
    ESPALIER_UNROLL
    for (int s = 0; s < kStages - 1; ++s) {
      if (s < steps) fetch(stages + s * kStageWords, (first_step + s) * kPixels, first_row, taps);
      commit_copies();
    }
    for (int step = 0; step < steps; ++step) {
      wait_copies<kStages - 2>();
      barrier();
      const int next = step + kStages - 1;
      if (next < steps)
        fetch(stages + next % kStages * kStageWords, (first_step + next) * kPixels, first_row, taps);
      commit_copies();
      multiply(stages + step % kStages * kStageWords, state, sum);
    }
    store(first_row, first_column, sum);
  }

 private:
  template <int kBytesOfUnit>
  struct Unit {
    static constexpr bool kAsynchronous = kBytesOfUnit > 0;
    static constexpr int kBytes = kBytesOfUnit ? kBytesOfUnit : 4;
    static constexpr int kElements = kBytes / static_cast<int>(sizeof(T)), kWords = kBytes / 4;
  };
  using Left = Unit<kLeftUnit>;
  using Right = Unit<kUnit>;
  /// Columns that a thread looks up itself: a unit's first, or each.
  static constexpr int kTaps = Right::kAsynchronous ? 1 : Right::kElements;

  /// A column of the product.
  struct Place {
    int r, t, c;
    bool valid;
  };
  ESPALIER_SIMT Place place_of(int column) const {
    return {column / g.C / g.S, column / g.C % g.S, column % g.C, column < columns()};
  }

  ESPALIER_SIMT int columns() const { return g.R * g.S * g.C; }
  ESPALIER_SIMT int pixels() const { return g.N * g.P * g.Q; }

  /// Groups of eight words trade places from four pixels to the next, so that lanes that load together hit
  /// all banks.
  template <int kWidth>
  ESPALIER_SIMT static int place(int pixel, int word) {
    return pixel * kWidth + (word ^ ((pixel >> 2 & 3) << 3));
  }

  /// Starts to bring a unit, or reads its elements; at(i) is the address of element i, null for 0.
  template <class Unit, class At>
  ESPALIER_SIMT static void bring(uint32_t* to, const T* anywhere, const At& at) {
    if constexpr (Unit::kAsynchronous) {
      const T* from = at(0);
      warp::copy_async<Unit::kBytes>(to, from ? from : anywhere, from != nullptr);
    } else {
      uint32_t all = 0;
      ESPALIER_UNROLL
      for (int i = 0; i < Unit::kElements; ++i)
        if (const T* from = at(i)) all |= bits(*from) << (32 / Unit::kElements * i);
      *to = all;
    }
  }
  ESPALIER_SIMT static uint32_t bits(float v) { return warp::bits_of(v); }
  ESPALIER_SIMT static uint32_t bits(Bf16 v) { return v.bits; }

  ESPALIER_SIMT void fetch(uint32_t* stage, int first_pixel, int first_row,
                           const Place (&taps)[kTaps]) const {
    constexpr int kLeftUnits = Tile::kM / Left::kElements, kLeftAtOnce = kThreads / kLeftUnits;
    static_assert(kThreads % kLeftUnits == 0 && kPixels % kLeftAtOnce == 0);
    const int unit = warp::thread() % kLeftUnits, k = first_row + unit * Left::kElements;
    ESPALIER_UNROLL
    for (int i = 0; i < kPixels; i += kLeftAtOnce) {
      const int at = i + warp::thread() / kLeftUnits, pixel = first_pixel + at;
      bring<Left>(stage + place<kLeftWords>(at, unit * Left::kWords), dy, [&](int element) {
        return pixel < pixels() && k + element < filters ? dy + (int64_t{pixel} * filters + k + element)
                                                         : nullptr;
      });
    }
    constexpr int kRightUnits = Tile::kN / Right::kElements, kRightAtOnce = kThreads / kRightUnits;
    static_assert(kThreads % kRightUnits == 0 && kPixels % kRightAtOnce == 0);
    uint32_t* right = stage + kLeftWords * kPixels;
    const int word = warp::thread() % kRightUnits * Right::kWords;
    ESPALIER_UNROLL
    for (int i = 0; i < kPixels; i += kRightAtOnce) {
      const int at = i + warp::thread() / kRightUnits, pixel = first_pixel + at;
      const int line = by_q.divide(pixel), n = by_p.divide(line);
      const int top = (line - n * g.P) * g.step - g.top, left = (pixel - line * g.Q) * g.step - g.left;
      bring<Right>(right + place<kRightWords>(at, word), x, [&](int element) -> const T* {
        const Place& here = taps[element];
        const int h = top + here.r, v = left + here.t;
        if (!here.valid || pixel >= pixels() || h < 0 || h >= g.H || v < 0 || v >= g.W) return nullptr;
        return x + ((int64_t{n} * g.H + h) * g.W + v) * g.C + here.c;
      });
    }
  }

  /// Four neighbouring elements of one pixel, as they lie.
  ESPALIER_SIMT static auto load_four(const uint32_t* p) {
    if constexpr (kPerWord == 1)
      return warp::load4(p);
    else
      return warp::load2(p);
  }

  /// Row tile 2b + i, half h of a warp's block b of 32 filters are filters 4*group + 2i + h, column tile j
  /// has columns 4*group + j: so every load brings four neighbours.
  ESPALIER_SIMT void multiply(const uint32_t* stage, const typename Load::State& state,
                              Sum (&sum)[Tile::kRowTiles][Tile::kColumnTiles][4]) const {
    using Four = decltype(load_four(stage));
    const int lane = warp::thread() % warp::kLanes, number = warp::thread() / warp::kLanes;
    const int group = lane / 4, t = lane % 4;
    const int left = (number / Tile::kWarpsN * 16 * Tile::kRowTiles + 4 * group) / kPerWord;
    const int right = (number % Tile::kWarpsN * 32 + 4 * group) / kPerWord;
    ESPALIER_UNROLL
    for (int chunk = 0; chunk < kPixels; chunk += 16) {
      typename Math::B b[Tile::kColumnTiles];
      {
        Four w[4];
        ESPALIER_UNROLL
        for (int j = 0; j < 4; ++j)
          w[j] = Load::apply(
              load, state,
              load_four(stage + kLeftWords * kPixels + place<kRightWords>(chunk + 4 * t + j, right)));
        ESPALIER_UNROLL
        for (int e = 0; e < 4; ++e) b[e] = Math::right(tensor_core::column(w, e));
      }
      ESPALIER_UNROLL
      for (int i = 0; i < Tile::kRowTiles; i += 2) {
        Four w[4];
        ESPALIER_UNROLL
        for (int j = 0; j < 4; ++j)
          w[j] = load_four(stage + place<kLeftWords>(chunk + 4 * t + j, left + 16 * i / kPerWord));
        ESPALIER_UNROLL
        for (int e = 0; e < 2; ++e) {
          const typename Math::A a =
              Math::left(tensor_core::column(w, 2 * e), tensor_core::column(w, 2 * e + 1));
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
      if constexpr (kUnit >= 4 * static_cast<int>(sizeof(T))) {
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
