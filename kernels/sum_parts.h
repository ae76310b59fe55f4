#pragma once
// The second stage of a sum that was split in parts.

#include "kernels/warp.h"

namespace espalier::kernels {

/// sum[i] = sum over parts of in[part, i], always in the same order; from column `split` on the sums go to
/// `rest`. A block takes 32 columns; eight of its threads share one, each with every eighth part, in four
/// sums that wait for memory together.
struct SumParts {
  static constexpr int kThreads = 256, kBlocks = 4, kSharedBytes = kThreads * 4;
  static constexpr int kAtOnce = kThreads / warp::kLanes;

  int64_t columns;
  int parts;
  const float* in;
  float* sum;
  float* rest = nullptr;
  int64_t split = columns;

  static int64_t blocks(int64_t columns) { return (columns + warp::kLanes - 1) / warp::kLanes; }

  ESPALIER_SIMT void operator()() const {
    const int lane = warp::thread() % warp::kLanes, slice = warp::thread() / warp::kLanes;
    const int64_t at = int64_t{warp::block().x} * warp::kLanes + lane;
    float* partial = reinterpret_cast<float*>(warp::shared());
    float own[4] = {};
    if (at < columns)
      for (int part = slice; part < parts; part += 4 * kAtOnce) {
        ESPALIER_UNROLL
        for (int i = 0; i < 4; ++i)
          if (part + i * kAtOnce < parts) own[i] += in[int64_t{part + i * kAtOnce} * columns + at];
      }
    partial[slice * warp::kLanes + lane] = (own[0] + own[1]) + (own[2] + own[3]);
    warp::barrier();
    if (slice || at >= columns) return;
    float total = 0;
    for (int i = 0; i < kAtOnce; ++i) total += partial[i * warp::kLanes + lane];
    if (at < split)
      sum[at] = total;
    else
      rest[at - split] = total;
  }
};

}  // namespace espalier::kernels
