#pragma once
// Greedy non-maximum suppression of one picture's boxes on a GPU, every class by itself; on the CPU it is
// src/tasks/nms.cpp.

#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "kernels/device.h"
#include "kernels/host_device.h"

namespace espalier::kernels {

/// Orders boxes by falling score, then rising index, in one comparison of integers: scores are not negative,
/// and such floats are ordered as their bits are.
ESPALIER_HD uint64_t rank_key(float score, int64_t index) {
  uint32_t bits;
  memcpy(&bits, &score, sizeof bits);
  return uint64_t{bits} << 32 | (0xFFFFFFFFu - static_cast<uint32_t>(index));
}
ESPALIER_HD int64_t index_of_key(uint64_t key) { return 0xFFFFFFFFu - static_cast<uint32_t>(key); }

/// Most boxes of a class that can enter: what a block sorts.
constexpr int kMostSuppressed = 1024;

/// All pointers on the device.
struct SuppressProblem {
  int64_t boxes;
  int classes;
  const float* corners;  ///< [4, boxes]: x0, y0, x1, y1
  const float* scores;   ///< [classes, boxes], none negative
  float threshold;       ///< a score that does not exceed it is no object
  float overlap;         ///< a box with a larger IoU with a better one of its class goes
  int top_k;             ///< of a class enter, at most kMostSuppressed
  int keep;              ///< of a class stay
  float plus;            ///< 1 where corners are pixels, so that a box from 3 to 4 is two wide; otherwise 0
};

struct KeptBox {
  float x0, y0, x1, y1, score;
};

/// kept [classes, keep] and how many they are, [classes]: best first, equal scores by index.
#ifdef ESPALIER_HAS_CUDA
void suppress_on_gpu(const SuppressProblem& problem, KeptBox* kept, int32_t* counts);
#else
inline void suppress_on_gpu(const SuppressProblem&, KeptBox*, int32_t*) {
  fail("device cuda: " + cuda_obstacle());
}
#endif

}  // namespace espalier::kernels
