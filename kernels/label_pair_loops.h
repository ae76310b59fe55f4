#pragma once
// A confusion matrix on the GPU: each block counts a few classes in shared memory, then adds once.

#include "kernels/warp.h"

namespace espalier::kernels::label_pairs {

struct Count {
  static constexpr int kThreads = 256, kBlocks = 4;
  static constexpr int kClasses = 8;  ///< predictions that one block counts, a row of 256 labels each
  static constexpr int kSharedBytes = kClasses * 256 * 4;
  int64_t n, blocks;
  const uint8_t *labels, *predictions;
  int classes;
  uint32_t* counts;  ///< [classes, 256], begin as 0

  static int64_t blocks_for(int64_t n) {
    const int64_t wanted = (n + 16 * kThreads - 1) / (16 * kThreads);
    return wanted < 512 ? wanted : 512;
  }
  static int64_t parts_for(int classes) { return (classes + kClasses - 1) / kClasses; }

  /// Block z counts classes z * kClasses and those after it.
  ESPALIER_SIMT void operator()() const {
    auto* own = reinterpret_cast<uint32_t*>(warp::shared());
    const int first = warp::block().z * kClasses;
    const int mine = classes - first < kClasses ? classes - first : kClasses;
    for (int i = warp::thread(); i < mine * 256; i += kThreads) own[i] = 0;
    warp::barrier();
    for (int64_t i = int64_t{warp::block().x} * kThreads + warp::thread(); i < n; i += blocks * kThreads) {
      const int k = predictions[i] - first;
      if (k >= 0 && k < mine) warp::add_count(own + k * 256 + labels[i], 1);
    }
    warp::barrier();
    for (int i = warp::thread(); i < mine * 256; i += kThreads)
      if (own[i]) warp::add_count(counts + first * 256 + i, own[i]);
  }
};

}  // namespace espalier::kernels::label_pairs
