#pragma once
// Largest magnitude and counts of magnitudes on the GPU: each block counts in shared memory, then adds once.

#include "kernels/magnitudes.h"
#include "kernels/warp.h"

namespace espalier::kernels::magnitudes {

constexpr int kThreads = 256;
constexpr uint32_t kInfinity = 0x7f800000;  ///< bits; those of a NaN are larger

inline int64_t blocks_for(int64_t n) {
  constexpr int64_t kEach = 16 * kThreads, kMost = 1024;
  const int64_t blocks = (n + kEach - 1) / kEach;
  return blocks < kMost ? blocks : kMost;
}

/// Positive floats are ordered as their bits are: words[0] = the largest |x|'s, words[1] = 1 if some x is
/// below zero. Both begin as 0.
struct Range {
  static constexpr int kThreads = magnitudes::kThreads, kBlocks = 4, kSharedBytes = 0;
  int64_t n, blocks;
  const float* x;
  uint32_t* words;
  ESPALIER_SIMT void operator()() const {
    uint32_t largest = 0, negative = 0;
    for (int64_t i = int64_t{warp::block().x} * kThreads + warp::thread(); i < n; i += blocks * kThreads) {
      const uint32_t bits = warp::bits_of(x[i]), magnitude = bits & 0x7fffffff;
      largest = magnitude > largest ? magnitude : largest;
      negative |= x[i] < 0;
    }
    ESPALIER_UNROLL
    for (int mask = 1; mask < warp::kLanes; mask *= 2) {
      const uint32_t other = warp::bits_of(warp::shuffle_xor(warp::float_of(largest), mask));
      largest = other > largest ? other : largest;
      negative |= warp::bits_of(warp::shuffle_xor(warp::float_of(negative), mask));
    }
    if (warp::thread() % warp::kLanes) return;
    warp::raise(words, largest);
    if (negative) warp::raise(words + 1, 1);
  }
};

/// counts: the bins, then the octaves. They begin as 0.
struct Count {
  static constexpr int kThreads = magnitudes::kThreads, kBlocks = 4;
  static constexpr int kCounts = kMagnitudeBins + kMagnitudeOctaves, kSharedBytes = kCounts * 4;
  int64_t n, blocks;
  const float* x;
  double per_width;
  uint32_t* counts;
  ESPALIER_SIMT void operator()() const {
    auto* own = reinterpret_cast<uint32_t*>(warp::shared());
    for (int i = warp::thread(); i < kCounts; i += kThreads) own[i] = 0;
    warp::barrier();
    for (int64_t i = int64_t{warp::block().x} * kThreads + warp::thread(); i < n; i += blocks * kThreads) {
      const uint32_t bits = warp::bits_of(x[i]) & 0x7fffffff;
      if (bits == 0) continue;
      const int bin = static_cast<int>(warp::float_of(bits) * per_width);
      warp::add_count(own + (bin < kMagnitudeBins ? bin : kMagnitudeBins - 1), 1);
      warp::add_count(own + kMagnitudeBins + (bits >> 23), 1);
    }
    warp::barrier();
    for (int i = warp::thread(); i < kCounts; i += kThreads)
      if (own[i]) warp::add_count(counts + i, own[i]);
  }
};

}  // namespace espalier::kernels::magnitudes
