#pragma once
// The filter gradient of a dense convolution with few filters, as a network's last one has: rows are
// channels, columns (k, r, s), the terms of a sum pixels of x. So x, which is nearly all of the traffic, is
// read once, whatever the taps; the few values of dy that its pixels meet are dealt out to the columns in
// shared memory.

#include "kernels/conv2d_tiles.h"
#include "kernels/few_channels.h"

namespace espalier::kernels::few_filters {

/// Neighbouring pixels of a row of x that a block takes at once.
constexpr int kPixels = 128;

/// block.x is a group of kChannels channels, block.z a part of the segments of x's rows. kColumnTiles holds
/// all columns, kValues the values of dy that a thread brings for a segment.
template <class T, class Math, int kColumnTiles, int kValues>
struct Gradient {
  static constexpr int kThreads = 256, kWarps = kThreads / warp::kLanes;
  static constexpr int kBlocks = kColumnTiles > 4 ? 1 : 2;
  static constexpr int kPerWord = static_cast<int>(4 / sizeof(T));
  static constexpr int kOfLane = 4 * kPerWord, kRowTiles = kOfLane / 2;  ///< channels of 16 bytes
  static constexpr int kUnits = 8, kChannels = kUnits * kOfLane;
  static constexpr int kStages = 4, kStageWords = kPixels * kUnits * 4;
  /// Elements from a line of dy (k, r) to the next: the taps of a column then lie in other banks than those
  /// of most other columns.
  static constexpr int kLine = kPixels + 16, kLines = kValues * kThreads / kPixels;
  static constexpr int kSharedBytes =
      kStages * kStageWords * 4 + 2 * kLines * kLine * static_cast<int>(sizeof(T));
  static_assert(Math::kPerWord == kPerWord && kWarps * 16 == kPixels);

  int H, W, C, P, Q, K, R, S, top, left;
  int units, segments;  ///< of all images, of a row
  int length;           ///< units of a part
  Divisor by_segments, by_h;
  const T *x, *dy;
  float* sums;  ///< [parts, K, R, S, C]

  Gradient(const ConvShape& s, const T* x, const T* dy)
      : H(s.H),
        W(s.W),
        C(s.C),
        P(s.P()),
        Q(s.Q()),
        K(s.K),
        R(s.R),
        S(s.S),
        top(s.pad.top),
        left(s.pad.left),
        units(0),
        segments((s.W + kPixels - 1) / kPixels),
        length(0),
        by_segments(segments),
        by_h(s.H),
        x(x),
        dy(dy),
        sums(nullptr) {
    units = s.N * s.H * segments;
  }
  static bool takes(const ConvShape& s) {
    return s.K * s.R * s.S <= 8 * kColumnTiles && s.K * s.R * (kPixels + s.S - 1) <= kValues * kThreads;
  }

  ESPALIER_SIMT void operator()() const {
    const int first = warp::block().z * length, end = first + length < units ? first + length : units;
    ESPALIER_UNROLL
    for (int s = 0; s < kStages - 1; ++s) {
      if (first + s < end) fetch(s, first + s);
      warp::commit_copies();
    }
    Values values;
    place(values);
    read(values, first, end);
    write(values, lines(0));
    read(values, first + 1, end);
    int columns[kColumnTiles];
    ESPALIER_UNROLL
    for (int j = 0; j < kColumnTiles; ++j) columns[j] = start_of(8 * j + lane() / 4);

    Sums sum = {};
    for (int i = 0; first + i < end; ++i) {
      warp::wait_copies<kStages - 2>();
      warp::barrier();
      if (first + i + kStages - 1 < end) fetch((i + kStages - 1) % kStages, first + i + kStages - 1);
      warp::commit_copies();
      multiply(stage(i % kStages), lines(i % 2), columns, sum);
      write(values, lines((i + 1) % 2));  // which everybody read before the barrier
      read(values, first + i + 2, end);
    }
    store(sum);
  }

 private:
  struct Sums {
    float of[kRowTiles][kColumnTiles][4];
  };
  /// What a thread brings of dy, on its way; and for each where it goes, its row's number from the last, and
  /// its place in a segment of that row, negative where there is none.
  struct Values {
    T value[kValues];
    int16_t to[kValues], row[kValues];
    int from[kValues];
  };
  /// A segment of a row of x.
  struct Unit {
    int n, h, column;
  };

  ESPALIER_SIMT static int lane() { return warp::thread() % warp::kLanes; }
  ESPALIER_SIMT static uint32_t* stage(int i) {
    return reinterpret_cast<uint32_t*>(warp::shared()) + i * kStageWords;
  }
  ESPALIER_SIMT static T* lines(int i) { return reinterpret_cast<T*>(stage(kStages)) + i * kLines * kLine; }
  /// Lanes that load together, of four pixels four apart, hit all banks.
  ESPALIER_SIMT static int at(int pixel, int unit) {
    return (pixel * kUnits + (unit ^ (pixel >> 2 & 3) << 1)) * 4;
  }
  ESPALIER_SIMT Unit unit(int i) const {
    const int row = by_segments.divide(i), n = by_h.divide(row);
    return {n, row - n * H, (i - row * segments) * kPixels};
  }

  ESPALIER_SIMT void fetch(int to, int number) const {
    const Unit u = unit(number);
    const int c = warp::block().x * kChannels + warp::thread() % kUnits * kOfLane;
    const T* row = x + int64_t{(u.n * H + u.h) * W + u.column} * C;
    ESPALIER_UNROLL
    for (int i = 0; i < kPixels; i += kThreads / kUnits) {
      const int pixel = i + warp::thread() / kUnits;
      const bool valid = u.column + pixel < W && c < C;
      warp::copy_async<16>(stage(to) + at(pixel, warp::thread() % kUnits),
                           valid ? row + (int64_t{pixel} * C + c) : x, valid);
    }
  }

  /// A segment of x meets this many columns of dy.
  ESPALIER_SIMT int width() const { return kPixels + S - 1; }
  ESPALIER_SIMT void place(Values& v) const {
    const int of_row = width() * K;
    ESPALIER_UNROLL
    for (int i = 0; i < kValues; ++i) {
      const int number = i * kThreads + warp::thread(), r = number / of_row, inside = number - r * of_row;
      v.to[i] = static_cast<int16_t>((inside % K * R + r) * kLine + inside / K);
      v.row[i] = static_cast<int16_t>(r);
      v.from[i] = r < R ? inside : -1;
    }
  }
  ESPALIER_SIMT void read(Values& v, int number, int end) const {
    if (number >= end) return;
    const Unit u = unit(number);
    const int start = (u.column + left - (S - 1)) * K;
    ESPALIER_UNROLL
    for (int i = 0; i < kValues; ++i) {
      const int p = u.h + top - v.row[i], inside = start + v.from[i];
      const bool valid = v.from[i] >= 0 && p >= 0 && p < P && inside >= 0 && inside < Q * K;
      v.value[i] = valid ? dy[int64_t{u.n * P + p} * (Q * K) + inside] : T(0.0f);
    }
  }
  ESPALIER_SIMT static void write(const Values& v, T* to) {
    ESPALIER_UNROLL
    for (int i = 0; i < kValues; ++i)
      if (v.from[i] >= 0) to[v.to[i]] = v.value[i];
  }

  /// Where the lane's four pixels find their values for a column; columns beyond the last read any.
  ESPALIER_SIMT int start_of(int column) const {
    const int line = column / S, inside = column < K * R * S ? line * kLine + S - 1 - (column - line * S) : 0;
    return inside + warp::thread() / warp::kLanes * 16 + lane() % 4 * 4;
  }
  /// Four neighbours, from an even place on or not.
  ESPALIER_SIMT static warp::Word2 four(const Bf16* p, bool odd) {
    const Bf16* even = p - odd;
    const uint32_t a = warp::load_pair(even), b = warp::load_pair(even + 2), c = warp::load_pair(even + 4);
    const uint32_t pair = odd ? 0x5432 : 0x3210;
    return {{warp::permute_bytes(a, b, pair), warp::permute_bytes(b, c, pair)}};
  }
  ESPALIER_SIMT static warp::Word4 four(const float* p, bool) {
    return {{warp::bits_of(p[0]), warp::bits_of(p[1]), warp::bits_of(p[2]), warp::bits_of(p[3])}};
  }
  /// Channel e of the lane's, of four pixels.
  ESPALIER_SIMT static auto channel(const warp::Word4 (&w)[4], int e) {
    if constexpr (kPerWord == 1) {
      return tensor_core::column(w, e);
    } else {
      warp::Word2 half[4];
      ESPALIER_UNROLL
      for (int j = 0; j < 4; ++j) half[j] = {{w[j].v[e / 4 * 2], w[j].v[e / 4 * 2 + 1]}};
      return tensor_core::column(half, e % 4);
    }
  }

  /// A warp has 16 pixels. Row tile i, half h are channels kOfLane * group + 2i + h, column tile j has
  /// columns 8j + group.
  ESPALIER_SIMT static void multiply(const uint32_t* pixels, const T* lines,
                                     const int (&columns)[kColumnTiles], Sums& sum) {
    const int first = warp::thread() / warp::kLanes * 16 + lane() % 4 * 4;
    warp::Word4 w[4];
    ESPALIER_UNROLL
    for (int j = 0; j < 4; ++j) w[j] = warp::load4(pixels + at(first + j, lane() / 4));
    typename Math::B b[kColumnTiles];
    ESPALIER_UNROLL
    for (int j = 0; j < kColumnTiles; ++j)
      b[j] = Math::right(four(lines + columns[j], (columns[j] & 1) != 0));
    ESPALIER_UNROLL
    for (int i = 0; i < kRowTiles; ++i) {
      const typename Math::A a = Math::left(channel(w, 2 * i), channel(w, 2 * i + 1));
      ESPALIER_UNROLL
      for (int j = 0; j < kColumnTiles; ++j) Math::multiply(sum.of[i][j], a, b[j]);
    }
  }

  /// Adds up the warps in order, one row tile after the other, and writes the sums in whole rows of channels.
  ESPALIER_SIMT void store(const Sums& sum) const {
    constexpr int kAdding = kWarps * kColumnTiles * 4 * warp::kLanes, kPitch = kChannels + 1;
    static_assert(kAdding + 8 * kColumnTiles * kPitch <= kStages * kStageWords);
    float* table = reinterpret_cast<float*>(warp::shared()) + kAdding;
    // Lanes that write together, of neighbouring columns and channels kOfLane apart, hit different banks.
    const auto place = [](int column, int c) { return column * kPitch + c + c / warp::kLanes; };
    ESPALIER_UNROLL
    for (int i = 0; i < kRowTiles; ++i) {
      warp::barrier();
      few_channels::add_warps<kWarps>(sum.of[i], [&](int from, int v, float total) {
        const int column = v / 4 * 8 + from % 4 * 2 + v % 2, c = from / 4 * kOfLane + 2 * i + v % 4 / 2;
        table[place(column, c)] = total;
      });
    }
    warp::barrier();
    const int columns = K * R * S, first = warp::block().x * kChannels;
    float* to = sums + int64_t{warp::block().z} * columns * C + first;
    for (int item = warp::thread(); item < columns * kChannels; item += kThreads) {
      const int column = item / kChannels, c = item % kChannels;
      if (first + c < C) to[column * C + c] = table[place(column, c)];
    }
  }
};

/// run(Gradient) with the fewest columns that hold the problem; false where none does.
template <class T, class Math, class Run>
bool with_kernel(const ConvShape& s, const T* x, const T* dy, const Run& run) {
  const auto offer = [&](auto column_tiles, auto values) {
    using Kernel = Gradient<T, Math, column_tiles(), values()>;
    if (!Kernel::takes(s)) return false;
    run(Kernel(s, x, dy));
    return true;
  };
  using std::integral_constant;
  return offer(integral_constant<int, 1>(), integral_constant<int, 4>()) ||
         offer(integral_constant<int, 3>(), integral_constant<int, 4>()) ||
         offer(integral_constant<int, 8>(), integral_constant<int, 11>());
}

/// Filters that fill no unit of the other loops, all of them in a block's columns; no steps over pixels.
template <class T>
bool takes(const ConvShape& s) {
  using Largest =
      Gradient<T, std::conditional_t<tiles::kIsFloat<T>, tensor_core::Tf32, tensor_core::PairedBf16>, 8, 11>;
  return s.K < 8 && s.R <= 7 && s.S <= 7 && s.stride == 1 && s.C % tiles::kPerUnit<T> == 0 &&
         Largest::takes(s) && tiles::fits(s);
}

/// dw as in conv2d_backward_w(), of what takes().
template <class Machine, class T>
void filter_gradient(Machine& machine, Precision precision, const ConvShape& s, const T* x, const T* dy,
                     float* dw) {
  const auto with = [&](auto math) {
    with_kernel<T, decltype(math)>(s, x, dy, [&](auto kernel) {
      using Kernel = decltype(kernel);
      const int groups = (s.C + Kernel::kChannels - 1) / Kernel::kChannels;
      const few_channels::Parts parts(kernel.units, 1,
                                      few_channels::kMultiprocessors * Kernel::kBlocks / groups);
      const int64_t elements = int64_t{s.K} * s.R * s.S * s.C;
      kernel.length = parts.length;
      kernel.sums = parts.count > 1 ? machine.scratch(parts.count * elements) : dw;
      machine.launch(kernel, groups, parts.count);
      tiles::add_gradient_parts(machine, parts.count, s.K, s.R * s.S * s.C, kernel.sums, dw);
    });
  };
  if constexpr (tiles::kIsFloat<T>)
    tiles::with_arithmetic(precision, with);
  else
    with(tensor_core::PairedBf16());
}

}  // namespace espalier::kernels::few_filters
