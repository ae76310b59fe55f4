#pragma once
// The convolution of implicit_gemm.h on Hopper's tensor cores, which read both operands from shared memory:
// threads only bring them there and take the sums away.

#include "kernels/implicit_gemm.h"
#include "kernels/warpgroup_steps.h"

namespace espalier::kernels {

/// What is multiplied: the type in memory and that of the sums.
struct GroupBf16 {
  using Sum = float;
  static constexpr warp::GroupType kType = warp::GroupType::kBf16;
  static constexpr int kElementBytes = 2;
};
template <bool kUnsigned>
struct GroupCodes {
  using Sum = int32_t;
  static constexpr warp::GroupType kType = kUnsigned ? warp::GroupType::kU8 : warp::GroupType::kS8;
  static constexpr int kElementBytes = 1;
};

/// 128 output pixels x kColumns filters a block; C in whole units of 16 bytes, no upsampling. A step takes
/// 128 bytes of every pixel and filter. While one step is multiplied the next is brought; the buffer it goes
/// to was read two steps before. Output as in implicit_gemm.h, without reductions.
template <class Math, int kColumns, class Output>
struct WarpgroupGemm {
  using Sum = typename Math::Sum;
  static constexpr int kGroups = 2, kThreads = kGroups * warp::kGroupThreads;
  static constexpr int kM = 64 * kGroups, kN = kColumns;
  /// Two blocks a multiprocessor where their sums fit its registers: one multiplies while the other begins
  /// or ends.
  static constexpr int kBlocks = kN <= 128 ? 2 : 1;
  static constexpr int kStages = kN == 128 ? 3 : 4;
  static constexpr int kStageBytes = (kM + kN) * warp::kGroupRowBytes;
  static constexpr int kSharedBytes = kStages * kStageBytes + warp::kGroupAlignment;
  static constexpr int kUnitElements = 16 / Math::kElementBytes;
  static constexpr int kUnits = warp::kGroupRowBytes / 16;  ///< of a row
  static constexpr int kStepElements = kUnits * kUnitElements;
  static constexpr int kRowsAtOnce = kThreads / kUnits;
  static_assert(!Output::kReduces && kM % kRowsAtOnce == 0 && kN % kRowsAtOnce == 0 && kRowsAtOnce % 16 == 0);

  Gather g;
  int columns;       ///< filters
  int column_tiles;  ///< block.x = row tile * column_tiles + column tile
  int part_steps;    ///< steps of one part of the sum; block.z is the part
  const void* image;
  const void* filters;  ///< [columns, R, S, C]
  Output out;

  /// Steps of the whole sum. Where C is in whole steps, the taps of one step's channels follow each other:
  /// they read nearly the same pixels.
  static constexpr int steps_of(const Gather& g) {
    return (g.R * g.S * g.C + kStepElements - 1) / kStepElements;
  }

  ESPALIER_SIMT void operator()() const {
    using namespace warp;
    const int first_row = block().x / column_tiles * kM, first_column = block().x % column_tiles * kN;
    const int first_step = block().z * part_steps;
    const int left = steps_of(g) - first_step, steps = left < part_steps ? left : part_steps;

    Pixel own[kM / kRowsAtOnce];
    ESPALIER_UNROLL
    for (int i = 0; i < kM / kRowsAtOnce; ++i)
      own[i] = pixel_of(first_row + thread() / kUnits + i * kRowsAtOnce);
    Place place = place_of(first_step);

    Sum sum[kN / 2];
    run_steps<kStages, kStageBytes>(
        steps, aligned_shared(), sum,
        [&](unsigned char* stage, int) { fetch(stage, own, first_column, place); },
        [&](const unsigned char* stage, bool more) { multiply(stage, more, sum); });
    store(first_row, first_column, sum);
  }

 private:
  /// An output pixel's first tap.
  struct Pixel {
    int at;  ///< pixels from the image's first; may be outside
    short h, v;
  };
  /// A thread's place in the sum: tap and channel.
  struct Place {
    int r, t, c;
  };

  ESPALIER_SIMT bool in_whole_steps() const { return g.C % kStepElements == 0; }

  ESPALIER_SIMT Pixel pixel_of(int row) const {
    if (row >= g.N * g.P * g.Q) return {0, -32768, 0};
    const int q = row % g.Q, p = row / g.Q % g.P, n = row / g.Q / g.P;
    const int h = p * g.step - g.top, v = q * g.step - g.left;
    return {(n * g.H + h) * g.W + v, static_cast<short>(h), static_cast<short>(v)};
  }

  ESPALIER_SIMT Place place_of(int step) const {
    const int unit = warp::thread() % kUnits * kUnitElements;
    if (in_whole_steps()) {
      const int taps = g.R * g.S, tap = step % taps;
      return {tap / g.S, tap % g.S, step / taps * kStepElements + unit};
    }
    const int depth = step * kStepElements + unit, tap = depth / g.C;
    return {tap / g.S, tap % g.S, depth % g.C};
  }

  ESPALIER_SIMT void advance(Place& place) const {
    if (in_whole_steps()) {
      if (++place.t < g.S) return;
      place.t = 0;
      if (++place.r < g.R) return;
      place.r = 0;
      place.c += kStepElements;
      return;
    }
    place.c += kStepElements;
    while (place.c >= g.C) {
      place.c -= g.C;
      if (++place.t == g.S) {
        place.t = 0;
        ++place.r;
      }
    }
  }

  /// Row i of the filters in shared memory is filter filter_of(i) of the tile: then the four columns of a
  /// lane in 16 are neighbours. kRowsAtOnce rows on it is as many filters on.
  ESPALIER_SIMT static int filter_of(int i) {
    return (i & ~15) + (i >> 1 & 3) * 4 + (i >> 3 & 1) * 2 + (i & 1);
  }

  /// Starts the copies of one step and moves the place on.
  ESPALIER_SIMT void fetch(unsigned char* stage, const Pixel (&own)[kM / kRowsAtOnce], int first_column,
                           Place& place) const {
    const int unit = warp::thread() % kUnits, first = warp::thread() / kUnits;
    const bool inside = place.r < g.R;
    const bool again = g.R * g.S > 1;
    const int moved = place.r * g.W + place.t;
    const char* channels = static_cast<const char*>(image) + place.c * Math::kElementBytes;
    ESPALIER_UNROLL
    for (int i = 0; i < kM / kRowsAtOnce; ++i) {
      const unsigned h = static_cast<unsigned>(own[i].h + place.r),
                     v = static_cast<unsigned>(own[i].v + place.t);
      const bool valid = inside && h < static_cast<unsigned>(g.H) && v < static_cast<unsigned>(g.W);
      const char* from = valid ? channels + int64_t{own[i].at + moved} * (g.C * Math::kElementBytes)
                               : static_cast<const char*>(image);
      unsigned char* to = stage + warp::group_place(first + i * kRowsAtOnce, unit);
      if (again)
        warp::copy_async_again(to, from, valid);
      else
        warp::copy_async<16>(to, from, valid);
    }
    const int depth = g.R * g.S * g.C * Math::kElementBytes;
    const int column = first_column + filter_of(first);
    const char* right = static_cast<const char*>(filters) + int64_t{column} * depth +
                        ((place.r * g.S + place.t) * g.C + place.c) * Math::kElementBytes;
    ESPALIER_UNROLL
    for (int i = 0; i < kN / kRowsAtOnce; ++i) {
      const bool valid = inside && column + i * kRowsAtOnce < columns;
      warp::copy_async<16>(
          stage + warp::group_place(kM + first + i * kRowsAtOnce, unit),
          valid ? right + int64_t{i * kRowsAtOnce} * depth : static_cast<const char*>(filters), valid);
    }
    advance(place);
  }

  ESPALIER_SIMT static void multiply(const unsigned char* stage, bool more, Sum (&sum)[kN / 2]) {
    const unsigned char* left = stage + warp::thread() / warp::kGroupThreads * 64 * warp::kGroupRowBytes;
    ESPALIER_UNROLL
    for (int first = 0; first < warp::kGroupRowBytes; first += warp::kGroupStep)
      warp::group_multiply<Math::kType, kN>(sum, left, stage + kM * warp::kGroupRowBytes, first,
                                            more || first > 0);
  }

  ESPALIER_SIMT void store(int first_row, int first_column, const Sum (&sum)[kN / 2]) const {
    const int lane = warp::thread() % warp::kLanes;
    const int row = first_row + warp::thread() / warp::kLanes * 16 + lane / 4;
    ESPALIER_UNROLL
    for (int j = 0; j < kN / 16; ++j) {
      const int column = first_column + 16 * j + lane % 4 * 4;
      if (column >= columns) break;
      ESPALIER_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int at = row + 8 * half, i = 8 * j + 2 * half;
        const Sum v[4] = {sum[i], sum[i + 1], sum[i + 4], sum[i + 5]};
        if (at < g.N * g.P * g.Q) out.store(at, column, v);
      }
    }
  }
};

}  // namespace espalier::kernels
