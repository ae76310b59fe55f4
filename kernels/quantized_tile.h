#pragma once
// Products of inputs and packed filters in registers, a tile of outputs at a time. Only
// kernels/quantized_*_prepared.cpp include this.

#include <array>
#include <utility>

#include "kernels/quantized_prepared.h"
#include "kernels/quantized_vectors.h"

#ifdef ESPALIER_INT8_VECTORS

namespace espalier::kernels::int8 {

/// Packed filters: [lines][groups][kBlock] codes of the first vector of output channels, and what lies
/// between two vectors.
struct Filters {
  const Filter* codes;
  int64_t step;
  int lines, groups;

  explicit Filters(const PackedCodes& w)
      : codes(w.vector(0)), step(w.vector(1) - w.vector(0)), lines(w.lines()), groups(w.groups()) {}
  /// One of the lines alone.
  Filters line(int i) const {
    Filters one = *this;
    one.codes += static_cast<int64_t>(i) * groups * kBlock;
    one.lines = 1;
    return one;
  }
};

/// What `lines` lines of neighbouring outputs see: filter line r of output i begins at line[r] + i * step,
/// and everything `stride` lines further for each line of outputs.
struct Lines {
  const Input* const* line;
  int64_t step;
  int stride = 0, lines = 1;
};

/// What becomes of sums: they leave as outputs of K channels.
template <bool kPlain>
struct Outputs {
  const PackedCodes& w;
  const Finish& finish;
  int K;

  Sums start(int vector) const { return load_sums(w.bias(vector)); }
  template <int kVectors>
  void put(const Sums* sum, int vector, int64_t pixel) const {
    const int count = std::min(kVectors * kLanes, K - vector * kLanes);
    const int64_t at = pixel * K + vector * kLanes;
    if constexpr (kPlain)
      finish.store_plain<kVectors, Order::kNatural>(sum, w.multiplier(vector), at, count);
    else
      finish.store<kVectors, Order::kNatural>(sum, w.multiplier(vector), at, count);
  }
};

// Of a tile. In 32 registers 3 by 8 runs a quarter faster than 4 by 6; in 16, where a product needs one too,
// 2 by 6 takes all.
#ifdef ESPALIER_INT8_VNNI
constexpr int kMostVectors = 3, kSums = 24;
#else
constexpr int kMostVectors = 2, kSums = 12;
#endif

/// kRows outputs, from `first` on, by kVectors * kLanes channels, in registers.
template <int kVectors, class Out, int kRows>
void tile(const Filters& w, int vector, const Lines& inputs, int first, const Out& out, int64_t pixel) {
  Sums sum[kRows][kVectors];
  const Filter* codes[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    codes[v] = w.codes + (vector + v) * w.step;
    Sums start = out.start(vector + v);
    hold(start);
    for (int i = 0; i < kRows; ++i) sum[i][v] = start;
  }
  const int groups = w.groups;
  int64_t next = 0;
  for (int line = 0; line < w.lines; ++line) {
    const Input* x[kRows];
    for (int i = 0; i < kRows; ++i) x[i] = inputs.line[line] + (first + i) * inputs.step;
    for (int g = 0; g < groups; ++g, next += kBlock) {
      Sums filter[kVectors];
      for (int v = 0; v < kVectors; ++v) filter[v] = load_filter(codes[v] + next);
      for (int i = 0; i < kRows; ++i) {
        const Inputs input = broadcast_group(x[i] + g * kGroup);
        for (int v = 0; v < kVectors; ++v) sum[i][v] = dot(sum[i][v], input, filter[v]);
      }
    }
  }
  for (int i = 0; i < kRows; ++i) out.template put<kVectors>(sum[i], vector, pixel + first + i);
}

template <class Out>
using TileFunction = void (*)(const Filters&, int, const Lines&, int, const Out&, int64_t);

/// tile<kVectors, Out, i + 1> at place i.
template <int kVectors, class Out, int... i>
constexpr std::array<TileFunction<Out>, sizeof...(i)> tiles(std::integer_sequence<int, i...>) {
  return {tile<kVectors, Out, i + 1>...};
}

/// One column of tiles of nearly equal height: lines of `count` outputs, the first being `pixel`.
template <int kVectors, class Out>
void column(const Filters& w, int vector, Lines inputs, int count, const Out& out, int64_t pixel) {
  constexpr int kMostRows = kSums / kVectors;
  static constexpr auto kTiles = tiles<kVectors, Out>(std::make_integer_sequence<int, kMostRows>());
  const int parts = (count + kMostRows - 1) / kMostRows;
  for (int line = 0; line < inputs.lines; ++line) {
    for (int i = 0; i < parts; ++i) {
      const Share rows(count, i, parts);
      kTiles[rows.count() - 1](w, vector, inputs, rows.first, out, pixel);
    }
    inputs.line += inputs.stride;
    pixel += count;
  }
}

/// All of the vectors.
template <class Out>
void columns(const Filters& w, Share vectors, const Lines& inputs, int count, const Out& out, int64_t pixel) {
  const int parts = (vectors.count() + kMostVectors - 1) / kMostVectors;
  for (int i = 0; i < parts; ++i) {
    const Share part(vectors.count(), i, parts);
    const int vector = vectors.first + part.first;
    switch (part.count()) {
      case 1:
        column<1>(w, vector, inputs, count, out, pixel);
        break;
      case 2:
        column<2>(w, vector, inputs, count, out, pixel);
        break;
      default:
        column<3>(w, vector, inputs, count, out, pixel);
    }
  }
}

}  // namespace espalier::kernels::int8

#endif
