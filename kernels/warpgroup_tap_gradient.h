#pragma once
// The filter gradient of a 3x3 convolution without steps, on Hopper's tensor cores: a block has all nine taps
// of its channels, so that what it copies of x serves three rows of taps, and what it copies of dy serves all
// of them. warpgroup_filter_gradient.h copies x for every tap.

#include "kernels/divisor.h"
#include "kernels/implicit_gemm.h"
#include "kernels/warpgroup_steps.h"

namespace espalier::kernels {

/// 64 filters x 9 taps x 64 channels a block; group r of three has row r of the taps. Channels and filters in
/// whole units of 8.
///
/// A block walks down a strip, kStrip pixels wide, of the images, which lie one below the other with their
/// padding between them: where a filter's window would span two images, dy is taken as 0. Row by row its
/// pixels make a line, of which a step takes 64. A tap of row r reads the same line r rows further on; for
/// its column there are three lines, each shifted by a pixel.
template <int kStrip>
struct WarpgroupTapGradient {
  static constexpr int kFilter = 3, kGroups = kFilter;
  static constexpr int kThreads = kGroups * warp::kGroupThreads, kBlocks = 1;
  static constexpr int kM = 64, kChannels = 64, kWidth = kFilter * kChannels;  ///< columns of a group
  static constexpr int kPixels = 64, kRows = kPixels / kStrip;                 ///< of a step
  static constexpr int kChunk = 16;
  /// Steps of x that a step needs beyond its own, and those that are fetched ahead.
  static constexpr int kLead = 2, kAhead = 2;
  /// Two more: the products of the step before may still be on their way.
  static constexpr int kStages = kAhead + 2, kSlots = kStages + kLead;
  static constexpr int kSlotBytes = kFilter * warp::kGroupBlockBytes;
  static constexpr int kSharedBytes =
      kSlots * kSlotBytes + kStages * warp::kGroupBlockBytes + warp::kGroupAlignment;
  static constexpr int kUnits = warp::kGroupRowBytes / 16, kUnitElements = 8;
  static_assert(warp::kGroupThreads == kChunk * kUnits && kStrip % kChunk == 0 && kPixels % kStrip == 0);

  Gather g;  ///< of the forward convolution; no upsampling
  int filters;
  int strips;
  int tall;  ///< rows from an image to the next
  Divisor by_tall;
  int channel_tiles;  ///< block.x = filter tile * channel_tiles + channel tile
  int part_steps;     ///< steps of one part of a strip; block.z = part * strips + strip
  const Bf16 *x, *dy;
  float* sums;  ///< [parts * strips, filters, 3, 3, C]

  WarpgroupTapGradient(const Gather& g, int filters, const Bf16* x, const Bf16* dy)
      : g(g),
        filters(filters),
        strips((g.Q + kStrip - 1) / kStrip),
        // One row of padding serves the image above it and the one below.
        tall(g.P + (g.top >= 1 && g.P + 1 - g.top >= g.H ? 1 : 2)),
        by_tall(tall),
        channel_tiles((g.C + kChannels - 1) / kChannels),
        part_steps(0),
        x(x),
        dy(dy),
        sums(nullptr) {}

  ESPALIER_HD int steps_of_strip() const { return (g.N * tall + kRows - 1) / kRows; }
  int64_t tiles() const { return int64_t{(filters + kM - 1) / kM} * channel_tiles; }

  ESPALIER_SIMT void operator()() const {
    using namespace warp;
    const int first_filter = block().x / channel_tiles * kM,
              first_channel = block().x % channel_tiles * kChannels;
    const int first_step = block().z / strips * part_steps, first_column = block().z % strips * kStrip;
    const int left = steps_of_strip() - first_step, steps = left < part_steps ? left : part_steps;
    unsigned char *pixels = aligned_shared(), *gradients = pixels + kSlots * kSlotBytes;

    const auto fetch_pixels = [&](int slot) {
      this->fetch_pixels(pixels + slot % kSlots * kSlotBytes, (first_step + slot) * kRows, first_column,
                         first_channel);
    };
    ESPALIER_UNROLL
    for (int slot = 0; slot < kLead; ++slot) fetch_pixels(slot);
    float sum[kWidth / 2];
    run_numbered_steps<kAhead>(
        steps, sum,
        [&](int step) {
          fetch_pixels(step + kLead);
          fetch_gradients(gradients + step % kStages * kGroupBlockBytes, (first_step + step) * kRows,
                          first_column, first_filter);
        },
        [&](int step, bool more) {
          multiply(pixels, step, gradients + step % kStages * kGroupBlockBytes, more, sum);
        });
    store(first_filter, first_channel, sum);
  }

 private:
  ESPALIER_SIMT static int group() { return warp::thread() / warp::kGroupThreads; }
  ESPALIER_SIMT static int unit() { return warp::thread() % kUnits; }
  /// Of the chunk that a group copies at once.
  ESPALIER_SIMT static int own_pixel() { return warp::thread() % warp::kGroupThreads / kUnits; }

  /// A row of an image and its padding.
  struct Row {
    int n, i;
  };
  ESPALIER_SIMT Row row_of(int number) const {
    const int n = by_tall.divide(number);
    return {n, number - n * tall};
  }

  /// A group's copies of x lie under its column of the taps. What depends on the row alone is written so that
  /// it is computed once for the chunks of one.
  ESPALIER_SIMT void fetch_pixels(unsigned char* slot, int first_row, int first_column,
                                  int first_channel) const {
    const int c = first_channel + unit() * kUnitElements,
              start = first_column + group() - g.left + own_pixel();
    ESPALIER_UNROLL
    for (int i = 0; i < kPixels; i += kChunk) {
      const Row row = row_of(first_row + i / kStrip);
      const int h = row.i - g.top, v = start + i % kStrip;
      const bool row_exists = row.n < g.N && static_cast<unsigned>(h) < static_cast<unsigned>(g.H);
      const Bf16* from = x + int64_t{row_exists ? (row.n * g.H + h) * g.W : 0} * g.C;
      const bool valid = row_exists && static_cast<unsigned>(v) < static_cast<unsigned>(g.W) && c < g.C;
      warp::copy_async_again(slot + group() * warp::kGroupBlockBytes +
                                 warp::group_place(own_pixel(), unit()) + i * warp::kGroupRowBytes,
                             valid ? from + (v * g.C + c) : x, valid);
    }
  }
  /// Four chunks of three groups.
  ESPALIER_SIMT void fetch_gradients(unsigned char* stage, int first_row, int first_column,
                                     int first_filter) const {
    fetch_gradient(stage, first_row, first_column, first_filter, group() * kChunk);
    if (group() == 0) fetch_gradient(stage, first_row, first_column, first_filter, kGroups * kChunk);
  }
  ESPALIER_SIMT void fetch_gradient(unsigned char* stage, int first_row, int first_column, int first_filter,
                                    int i) const {
    const int k = first_filter + unit() * kUnitElements, q = first_column + i % kStrip + own_pixel();
    const Row row = row_of(first_row + i / kStrip);
    const bool valid = row.n < g.N && row.i < g.P && q < g.Q && k < filters;
    warp::copy_async<16>(stage + warp::group_place(own_pixel(), unit()) + i * warp::kGroupRowBytes,
                         valid ? dy + (int64_t{row.n * g.P + row.i} * g.Q * filters + (q * filters + k)) : dy,
                         valid);
  }

  ESPALIER_SIMT void multiply(const unsigned char* pixels, int step, const unsigned char* gradients,
                              bool more, float (&sum)[kWidth / 2]) const {
    ESPALIER_UNROLL
    for (int i = 0; i < kPixels; i += kChunk) {
      const unsigned at = static_cast<unsigned>(group() * kStrip + i);
      const int slot = (step + static_cast<int>(at / kPixels)) % kSlots;
      warp::group_multiply<warp::GroupType::kTurnedBf16, kWidth>(
          sum, gradients + i * warp::kGroupRowBytes,
          pixels + slot * kSlotBytes + at % kPixels * warp::kGroupRowBytes, 0, more || i > 0);
    }
  }

  ESPALIER_SIMT void store(int first_filter, int first_channel, const float (&sum)[kWidth / 2]) const {
    const int lane = warp::thread() % warp::kLanes;
    const int row = first_filter + warp::thread() % warp::kGroupThreads / warp::kLanes * 16 + lane / 4;
    float* to = sums + int64_t{warp::block().z} * filters * (kFilter * kFilter) * g.C;
    ESPALIER_UNROLL
    for (int j = 0; j < kWidth / 8; ++j) ESPALIER_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int k = row + 8 * half, t = j / (kChannels / 8),
                c = first_channel + j % (kChannels / 8) * 8 + lane % 4 * 2;
      if (k >= filters || c >= g.C) continue;
      warp::store2(to + (int64_t{k} * (kFilter * kFilter) + group() * kFilter + t) * g.C + c,
                   warp::Float2{{sum[4 * j + 2 * half], sum[4 * j + 2 * half + 1]}});
    }
  }
};

}  // namespace espalier::kernels
