#pragma once
// Convolution as a matrix product that never makes its left matrix: rows are output pixels, columns filters,
// and the terms of a sum are (r, s, c) in the order of memory. Both operands arrive in shared memory by
// asynchronous copies, several steps ahead of the tensor cores.

#include "kernels/operand_load.h"
#include "kernels/tensor_core.h"

namespace espalier::kernels {

/// The image as the product reads it: pixel (h, v) of output (p, q) and tap (r, t) is p*step - top + r,
/// q*step - left + t. With upsample u > 1 there are u - 1 zeros between the pixels in memory, which makes a
/// data gradient with stride the same loop.
struct Gather {
  int N, H, W, C;  ///< in memory
  int P, Q;
  int R, S, step, top, left, upsample;
};

/// kUnit is the bytes of one copy: 16, 8 or 4 need C in whole units; 0 is for 8-bit and 16-bit elements whose
/// C fills no word: each element is read by itself. Output::store(row, column, v) takes four neighbouring
/// columns; an output that reduces (conv2d_reducing_outputs.h) keeps a state per four columns as well.
template <class Math, class Tile, int kUnit, class Output, class Load = PlainLoad>
struct ImplicitGemm {
  static constexpr int kStages = 3;
  static constexpr int kWords = 32;  ///< of a row of a step
  static constexpr int kThreads = Tile::kThreads, kBlocks = Tile::kBlocks;
  static constexpr int kStageWords = (Tile::kM + Tile::kN) * kWords;
  static constexpr int kStepElements = kWords * Math::kPerWord;
  struct Row {
    int pixel;  ///< of the image's first, (0, 0)
    short h, v;
  };
  static constexpr int kSharedBytes = kStages * kStageWords * 4 + Tile::kM * static_cast<int>(sizeof(Row));
  using Sum = typename Math::Sum;

  Gather g;
  int columns;       ///< filters
  int column_tiles;  ///< block.x = row tile * column_tiles + column tile
  int part_steps;    ///< steps of one part of the sum; block.z is the part
  const void* image;
  const void* filters;  ///< [columns, R, S, C]
  Output out;
  Load load = {};  ///< of the image

  ESPALIER_SIMT void operator()() const {
    using namespace warp;
    uint32_t* stages = reinterpret_cast<uint32_t*>(shared());
    Row* rows = reinterpret_cast<Row*>(stages + kStages * kStageWords);
    const int first_row = block().x / column_tiles * Tile::kM;
    const int first_column = block().x % column_tiles * Tile::kN;
    for (int i = thread(); i < Tile::kM; i += kThreads) rows[i] = row_of(first_row + i);
    barrier();

    const int steps_in_all = (depth() + kStepElements - 1) / kStepElements;
    const int first_step = block().z * part_steps;
    const int steps = steps_in_all - first_step < part_steps ? steps_in_all - first_step : part_steps;
    Tap tap = tap_of(first_step * kStepElements + thread() % kUnitsPerRow * kUnitElements);

    Sum sum[Tile::kRowTiles][Tile::kColumnTiles][4] = {};
    ESPALIER_UNROLL
    for (int s = 0; s < kStages - 1; ++s) {
      if (s < steps) fetch(stages + s * kStageWords, rows, first_column, tap);
      commit_copies();
    }
    for (int step = 0; step < steps; ++step) {
      wait_copies<kStages - 2>();
      barrier();
      if (step + kStages - 1 < steps)
        fetch(stages + (step + kStages - 1) % kStages * kStageWords, rows, first_column, tap);
      commit_copies();
      multiply(stages + step % kStages * kStageWords, (first_step + step) * kWords, sum);
    }
    store(first_row, first_column, sum);
  }

 private:
  static constexpr int kElementBytes = 4 / Math::kPerWord;
  static constexpr int kUnitBytes = kUnit ? kUnit : 4;
  static constexpr int kUnitElements = kUnitBytes / kElementBytes, kUnitWords = kUnitBytes / 4;
  /// Places in the sum that a thread looks up itself: of a unit's first element, or of each.
  static constexpr int kTaps = kUnit ? 1 : kUnitElements;
  static constexpr int kUnitsPerRow = kWords / kUnitWords, kRowsAtOnce = kThreads / kUnitsPerRow;

  /// A place in the sum.
  struct Tap {
    int r, t, c, depth;
  };

  ESPALIER_SIMT int depth() const { return g.R * g.S * g.C; }

  ESPALIER_SIMT Tap tap_of(int depth) const {
    const int window = depth / g.C;
    return {window / g.S, window % g.S, depth % g.C, depth};
  }

  ESPALIER_SIMT void advance(Tap& tap, int elements) const {
    tap.depth += elements;
    tap.c += elements;
    while (tap.c >= g.C) {
      tap.c -= g.C;
      if (++tap.t == g.S) {
        tap.t = 0;
        ++tap.r;
      }
    }
  }

  ESPALIER_SIMT Row row_of(int row) const {
    if (row >= g.N * g.P * g.Q) return {0, -32768, 0};
    const int q = row % g.Q, p = row / g.Q % g.P, n = row / g.Q / g.P;
    return {n * g.H * g.W, static_cast<short>(p * g.step - g.top), static_cast<short>(q * g.step - g.left)};
  }

  /// Words of a row lie in groups of four; groups trade places in every second row (and in every second group
  /// of four rows, which is how `multiply` reads the filters), so that eight lanes' loads hit all banks.
  ESPALIER_SIMT static int place(int row, int word) {
    return row * kWords + (word ^ (((row ^ row >> 2) & 1) << 4));
  }

  ESPALIER_SIMT bool element(const Row& row, const Tap& tap, int64_t* at) const {
    int h = row.h + tap.r, v = row.v + tap.t;
    if (g.upsample > 1) {
      if (h % g.upsample || v % g.upsample) return false;
      h = h < 0 ? h : h / g.upsample;
      v = v < 0 ? v : v / g.upsample;
    }
    *at = int64_t{row.pixel + h * g.W + v} * g.C + tap.c;
    return h >= 0 && h < g.H && v >= 0 && v < g.W && tap.depth < depth();
  }

  /// Starts the copies of one step and moves the tap on.
  ESPALIER_SIMT void fetch(uint32_t* stage, const Row* rows, int first_column, Tap& tap) const {
    const int word = warp::thread() % kUnitsPerRow * kUnitWords, first = warp::thread() / kUnitsPerRow;
    Tap taps[kTaps];
    taps[0] = tap;
    ESPALIER_UNROLL
    for (int i = 1; i < kTaps; ++i) {
      taps[i] = taps[i - 1];
      advance(taps[i], 1);
    }
    ESPALIER_UNROLL
    for (int i = 0; i < Tile::kM; i += kRowsAtOnce) {
      const int row = first + i;
      if (Tile::kM % kRowsAtOnce && row >= Tile::kM) break;
      fetch_pixel(stage + place(row, word), rows[row], taps);
    }
    uint32_t* right = stage + Tile::kM * kWords;
    ESPALIER_UNROLL
    for (int i = 0; i < Tile::kN; i += kRowsAtOnce) {
      const int row = first + i;
      if (Tile::kN % kRowsAtOnce && row >= Tile::kN) break;
      fetch_filter(right + place(row, word), first_column + row, tap.depth);
    }
    advance(tap, kStepElements);
  }

  ESPALIER_SIMT void fetch_pixel(uint32_t* to, const Row& row, const Tap (&taps)[kTaps]) const {
    int64_t at = 0;
    if constexpr (kUnit > 0) {
      const bool valid = element(row, taps[0], &at);
      warp::copy_async<kUnitBytes>(to, static_cast<const char*>(image) + (valid ? at * kElementBytes : 0),
                                   valid);
    } else {
      uint32_t all = 0;
      ESPALIER_UNROLL
      for (int i = 0; i < kTaps; ++i)
        if (element(row, taps[i], &at)) all |= element_bits(image, at) << (32 / kUnitElements * i);
      *to = all;
    }
  }

  ESPALIER_SIMT void fetch_filter(uint32_t* to, int k, int from) const {
    const int64_t at = int64_t{k} * depth() + from;
    if constexpr (kUnit > 0) {
      const bool valid = k < columns && from < depth();
      warp::copy_async<kUnitBytes>(to, static_cast<const char*>(filters) + (valid ? at * kElementBytes : 0),
                                   valid);
    } else {
      uint32_t all = 0;
      for (int i = 0; i < kUnitElements; ++i)
        if (k < columns && from + i < depth())
          all |= element_bits(filters, at + i) << (32 / kUnitElements * i);
      *to = all;
    }
  }

  ESPALIER_SIMT static uint32_t element_bits(const void* p, int64_t at) {
    if constexpr (kElementBytes == 1)
      return static_cast<const uint8_t*>(p)[at];
    else if constexpr (kElementBytes == 2)
      return static_cast<const uint16_t*>(p)[at];
    else
      return static_cast<const uint32_t*>(p)[at];
  }

  /// Column tile i of a warp has filters 4*group + i: then a lane's sums of one row lie side by side.
  ESPALIER_SIMT void multiply(const uint32_t* stage, int first_word,
                              Sum (&sum)[Tile::kRowTiles][Tile::kColumnTiles][4]) const {
    const int lane = warp::thread() % warp::kLanes, number = warp::thread() / warp::kLanes;
    const int group = lane / 4, t = lane % 4;
    const int left = number / Tile::kWarpsN * 16 * Tile::kRowTiles + group;
    const int right = Tile::kM + number % Tile::kWarpsN * 32 + 4 * group;
    ESPALIER_UNROLL
    for (int chunk = 0; chunk < kWords; chunk += 16) {
      typename Math::B b[Tile::kColumnTiles];
      ESPALIER_UNROLL
      for (int j = 0; j < Tile::kColumnTiles; ++j)
        b[j] = Math::right(warp::load4(stage + place(right + j, chunk + 4 * t)));
      const typename Load::State state = load.begin(first_word + chunk + 4 * t, g.C);
      ESPALIER_UNROLL
      for (int i = 0; i < Tile::kRowTiles; ++i) {
        const auto words = [&](int row) {
          return Load::apply(load, state, warp::load4(stage + place(row, chunk + 4 * t)));
        };
        const typename Math::A a = Math::left(words(left + 16 * i), words(left + 16 * i + 8));
        ESPALIER_UNROLL
        for (int j = 0; j < Tile::kColumnTiles; ++j) Math::multiply(sum[i][j], a, b[j]);
      }
    }
  }

  ESPALIER_SIMT void store(int first_row, int first_column,
                           const Sum (&sum)[Tile::kRowTiles][Tile::kColumnTiles][4]) const {
    const int lane = warp::thread() % warp::kLanes, number = warp::thread() / warp::kLanes;
    const int row = first_row + number / Tile::kWarpsN * 16 * Tile::kRowTiles + lane / 4;
    const int column = first_column + number % Tile::kWarpsN * 32 + lane % 4 * 8;
    if constexpr (Output::kReduces) {
      warp::barrier();  // the sums of columns take the place of the last step's operands
      ESPALIER_UNROLL
      for (int side = 0; side < 2; ++side) store_and_reduce(row, column + 4 * side, side, sum);
      keep(first_row, first_column);
    } else {
      ESPALIER_UNROLL
      for (int side = 0; side < 2; ++side)
        for_each_row(row, column + 4 * side, side, sum,
                     [&](int at, const Sum(&v)[4]) { out.store(at, column + 4 * side, v); });
    }
  }

  /// visit(row, four sums) for the rows of a lane that exist.
  template <class Visit>
  ESPALIER_SIMT void for_each_row(int row, int column, int side,
                                  const Sum (&sum)[Tile::kRowTiles][Tile::kColumnTiles][4],
                                  const Visit& visit) const {
    if (column >= columns) return;
    const int rows = g.N * g.P * g.Q;
    ESPALIER_UNROLL
    for (int i = 0; i < Tile::kRowTiles; ++i) {
      ESPALIER_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int at = row + 16 * i + 8 * half;
        Sum v[4];
        ESPALIER_UNROLL
        for (int j = 0; j < 4; ++j) v[j] = sum[i][j][2 * half + side];
        if (at < rows) visit(at, v);
      }
    }
  }

  /// Stores four columns of a lane, and leaves what the output reduces of its warp's rows in shared memory.
  ESPALIER_SIMT void store_and_reduce(int row, int column, int side,
                                      const Sum (&sum)[Tile::kRowTiles][Tile::kColumnTiles][4]) const {
    using Value = typename Output::Value;
    typename Output::State state = {};
    if (column < columns) state = out.begin(column);
    for_each_row(row, column, side, sum, [&](int at, const Sum(&v)[4]) { out.store(state, at, column, v); });
    const int lane = warp::thread() % warp::kLanes, number = warp::thread() / warp::kLanes;
    Value* partial = reinterpret_cast<Value*>(warp::shared()) + number / Tile::kWarpsN * Tile::kN +
                     number % Tile::kWarpsN * 32 + lane % 4 * 8 + 4 * side;
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) {
      Value v = Output::value(state, k);
      ESPALIER_UNROLL
      for (int mask = 4; mask < warp::kLanes; mask *= 2) v = Output::merge(v, Output::shuffle(v, mask));
      if (lane < 4) partial[k] = v;
    }
  }

  /// Merges the block's warps, in order.
  ESPALIER_SIMT void keep(int first_row, int first_column) const {
    static_assert(Tile::kN <= kThreads);
    warp::barrier();
    const int column = first_column + warp::thread();
    if (warp::thread() >= Tile::kN || column >= columns) return;
    const auto* partial = reinterpret_cast<const typename Output::Value*>(warp::shared()) + warp::thread();
    typename Output::Value total = partial[0];
    for (int i = 1; i < Tile::kWarpsM; ++i) total = Output::merge(total, partial[i * Tile::kN]);
    out.keep(first_row / Tile::kM, column, total);
  }
};

}  // namespace espalier::kernels
