#pragma once
// The second stage of a sum that was split in parts.

#include "kernels/warp.h"

namespace espalier::kernels {

/// sum[i] = sum over parts of in[part, i], always in the same order; from column `split` on the sums go to
/// `rest`. A block takes 32 columns; kWarps of its threads share one, each with every kWarps-th part, in
/// kEach sums that wait for memory together.
template <int kWarps, int kEach>
struct SumPartsBy {
  static constexpr int kThreads = kWarps * warp::kLanes, kBlocks = 1024 / kThreads,
                       kSharedBytes = kThreads * 4;
  static constexpr int kAtOnce = kWarps;

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
    float own[kEach] = {};
    if (at < columns)
      for (int part = slice; part < parts; part += kEach * kAtOnce) {
        ESPALIER_UNROLL
        for (int i = 0; i < kEach; ++i)
          if (part + i * kAtOnce < parts) own[i] += in[int64_t{part + i * kAtOnce} * columns + at];
      }
    ESPALIER_UNROLL
    for (int half = kEach / 2; half > 0; half /= 2) {
      ESPALIER_UNROLL
      for (int i = 0; i < half; ++i) own[i] += own[i + half];
    }
    partial[slice * warp::kLanes + lane] = own[0];
    warp::barrier();
    if (slice || at >= columns) return;
    float total = 0;
    ESPALIER_UNROLL
    for (int i = 0; i < kAtOnce; ++i) total += partial[i * warp::kLanes + lane];
    if (at < split)
      sum[at] = total;
    else
      rest[at - split] = total;
  }
};

using SumParts = SumPartsBy<8, 4>;
/// For many parts, which would be rounds of waiting for eight threads.
using SumManyParts = SumPartsBy<32, 8>;

/// The same by as many threads as the parts are worth.
template <class Machine>
void sum_parts(Machine& machine, const SumParts& s) {
  if (s.parts >= SumManyParts::kAtOnce)
    machine.launch(SumManyParts{s.columns, s.parts, s.in, s.sum, s.rest, s.split},
                   SumManyParts::blocks(s.columns), 1);
  else
    machine.launch(s, SumParts::blocks(s.columns), 1);
}

}  // namespace espalier::kernels
