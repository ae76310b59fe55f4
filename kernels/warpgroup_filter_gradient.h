#pragma once
// A convolution's filter gradient on Hopper's tensor cores, as filter_gradient_gemm.h: rows are filters,
// columns (r, s, c), the terms of a sum are output pixels. Both operands are read as they lie, a pixel's
// channels side by side, which is across the sums.

#include "kernels/divisor.h"
#include "kernels/implicit_gemm.h"
#include "kernels/warpgroup_steps.h"

namespace espalier::kernels {

/// 64 * kRowGroups filters x 128 * (2 / kRowGroups) columns a block of two groups; channels and filters in
/// whole units of 8. A step takes 64 pixels.
template <int kRowGroups>
struct WarpgroupFilterGradient {
  static constexpr int kGroups = 2, kColumnGroups = kGroups / kRowGroups;
  static constexpr int kThreads = kGroups * warp::kGroupThreads;
  static constexpr int kWidth = 128;  ///< columns of a group
  static constexpr int kM = 64 * kRowGroups, kN = kWidth * kColumnGroups;
  static constexpr int kPixels = 64;
  static constexpr int kLeftBlocks = kM / 64, kRightBlocks = kN / 64;
  static constexpr int kStageBytes = (kLeftBlocks + kRightBlocks) * warp::kGroupBlockBytes;
  /// Two blocks share a multiprocessor where their buffers fit.
  static constexpr int kBlocks = kRowGroups == 2 ? 2 : 1, kStages = kRowGroups == 2 ? 3 : 4;
  static constexpr int kSharedBytes = kStages * kStageBytes + warp::kGroupAlignment;
  static constexpr int kUnits = warp::kGroupRowBytes / 16, kUnitElements = 8;
  static constexpr int kPixelsAtOnce = kThreads / kUnits;

  Gather g;  ///< of the forward convolution; no upsampling
  Divisor by_p, by_q;
  int filters, column_tiles;  ///< block.x = row tile * column_tiles + column tile
  int part_steps;             ///< steps of one part; block.z is the part
  const Bf16 *x, *dy;
  float* sums;  ///< [parts, filters, R*S*C]

  static int64_t steps_of(const Gather& g) { return (int64_t{g.N} * g.P * g.Q + kPixels - 1) / kPixels; }

  ESPALIER_SIMT void operator()() const {
    using namespace warp;
    const int first_row = block().x / column_tiles * kM, first_column = block().x % column_tiles * kN;
    const int first_step = block().z * part_steps;
    const int left = (pixels() + kPixels - 1) / kPixels - first_step;
    const int steps = left < part_steps ? left : part_steps;
    Place own[kRightBlocks];
    ESPALIER_UNROLL
    for (int i = 0; i < kRightBlocks; ++i)
      own[i] = place_of(first_column + 64 * i + thread() % kUnits * kUnitElements);

    float sum[kWidth / 2];
    run_steps<kStages, kStageBytes>(
        steps, aligned_shared(), sum,
        [&](unsigned char* stage, int step) { fetch(stage, (first_step + step) * kPixels, first_row, own); },
        [&](const unsigned char* stage, bool more) { multiply(stage, more, sum); });
    store(first_row, first_column, sum);
  }

 private:
  /// Eight columns of the product: a tap and its channels.
  struct Place {
    int r, t, c;
    bool valid;
  };
  ESPALIER_SIMT Place place_of(int column) const {
    return {column / g.C / g.S, column / g.C % g.S, column % g.C, column < columns()};
  }
  ESPALIER_SIMT int columns() const { return g.R * g.S * g.C; }
  ESPALIER_SIMT int pixels() const { return g.N * g.P * g.Q; }

  ESPALIER_SIMT void fetch(unsigned char* stage, int first_pixel, int first_row,
                           const Place (&own)[kRightBlocks]) const {
    const int unit = warp::thread() % kUnits;
    ESPALIER_UNROLL
    for (int i = 0; i < kPixels; i += kPixelsAtOnce) {
      const int at = i + warp::thread() / kUnits, pixel = first_pixel + at;
      const bool inside = pixel < pixels();
      ESPALIER_UNROLL
      for (int b = 0; b < kLeftBlocks; ++b) {
        const int k = first_row + 64 * b + unit * kUnitElements;
        const bool valid = inside && k < filters;
        warp::copy_async<16>(stage + b * warp::kGroupBlockBytes + warp::group_place(at, unit),
                             valid ? dy + (int64_t{pixel} * filters + k) : dy, valid);
      }
      const int line = by_q.divide(pixel), n = by_p.divide(line);
      const int top = (line - n * g.P) * g.step - g.top, start = (pixel - line * g.Q) * g.step - g.left;
      ESPALIER_UNROLL
      for (int b = 0; b < kRightBlocks; ++b) {
        const int h = top + own[b].r, v = start + own[b].t;
        const bool valid = inside && own[b].valid && static_cast<unsigned>(h) < static_cast<unsigned>(g.H) &&
                           static_cast<unsigned>(v) < static_cast<unsigned>(g.W);
        warp::copy_async_again(
            stage + (kLeftBlocks + b) * warp::kGroupBlockBytes + warp::group_place(at, unit),
            valid ? x + (int64_t{(n * g.H + h) * g.W + v} * g.C + own[b].c) : x, valid);
      }
    }
  }

  ESPALIER_SIMT static void multiply(const unsigned char* stage, bool more, float (&sum)[kWidth / 2]) {
    const int group = warp::thread() / warp::kGroupThreads;
    const unsigned char* left = stage + group % kRowGroups * warp::kGroupBlockBytes;
    const unsigned char* right =
        stage + (kLeftBlocks + group / kRowGroups * (kWidth / 64)) * warp::kGroupBlockBytes;
    ESPALIER_UNROLL
    for (int first = 0; first < warp::kGroupBlockBytes; first += warp::kTurnedGroupStep)
      warp::group_multiply<warp::GroupType::kTurnedBf16, kWidth>(sum, left, right, first, more || first > 0);
  }

  ESPALIER_SIMT void store(int first_row, int first_column, const float (&sum)[kWidth / 2]) const {
    const int lane = warp::thread() % warp::kLanes, group = warp::thread() / warp::kGroupThreads;
    const int row = first_row + group % kRowGroups * 64 +
                    warp::thread() % warp::kGroupThreads / warp::kLanes * 16 + lane / 4;
    const int column = first_column + group / kRowGroups * kWidth + lane % 4 * 2;
    float* to = sums + int64_t{warp::block().z} * filters * columns();
    ESPALIER_UNROLL
    for (int j = 0; j < kWidth / 8; ++j) ESPALIER_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int k = row + 8 * half, at = column + 8 * j;
      if (k >= filters || at >= columns()) continue;
      warp::store2(to + int64_t{k} * columns() + at,
                   warp::Float2{{sum[4 * j + 2 * half], sum[4 * j + 2 * half + 1]}});
    }
  }
};

}  // namespace espalier::kernels
