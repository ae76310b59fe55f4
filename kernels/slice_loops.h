#pragma once
// Updates of all parameters in one launch on the GPU: a block takes one run of one tensor.

#include "kernels/optimizer.h"
#include "kernels/warp.h"

namespace espalier::kernels::slices {

/// Elements of one slice that one block takes.
constexpr int kBlock = 2048;

/// The slice that block `item` belongs to: first[slice] <= item < first[slice + 1].
ESPALIER_SIMT int slice_of(const int64_t* first, int count, int64_t item) {
  int low = 0, high = count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (first[middle] <= item)
      low = middle;
    else
      high = middle;
  }
  return low;
}

/// A block's run of a slice.
struct Run {
  const ParameterSlice* slice;
  int64_t begin, end;
  ESPALIER_SIMT static Run of(const ParameterSlice* slices, const int64_t* first, int count) {
    const int64_t item = warp::block().x;
    const int i = slice_of(first, count, item);
    const int64_t begin = (item - first[i]) * kBlock, end = begin + kBlock, n = slices[i].elements;
    return {slices + i, begin, end < n ? end : n};
  }
};

/// update.run(slice, i, i + 1, item) for every element.
template <class Update>
struct ForEachElement {
  static constexpr int kThreads = 256, kBlocks = 4, kSharedBytes = 0;
  const ParameterSlice* slices;
  const int64_t* first;
  int count;
  Update update;
  ESPALIER_SIMT void operator()() const {
    const Run run = Run::of(slices, first, count);
    for (int64_t i = run.begin + warp::thread(); i < run.end; i += kThreads)
      update.run(*run.slice, i, i + 1, warp::block().x);
  }
};

/// parts[block] = sum of g^2 of its run, in double.
struct SquareSum {
  static constexpr int kThreads = 256, kBlocks = 4, kSharedBytes = kThreads * 8;
  const ParameterSlice* slices;
  const int64_t* first;
  int count;
  double* parts;
  ESPALIER_SIMT void operator()() const {
    const Run run = Run::of(slices, first, count);
    double* partial = reinterpret_cast<double*>(warp::shared());
    double own = 0;
    for (int64_t i = run.begin + warp::thread(); i < run.end; i += kThreads)
      own += static_cast<double>(run.slice->g[i]) * run.slice->g[i];
    partial[warp::thread()] = own;
    for (int half = kThreads / 2; half > 0; half /= 2) {
      warp::barrier();
      if (warp::thread() < half) partial[warp::thread()] += partial[warp::thread() + half];
    }
    if (warp::thread() == 0) parts[warp::block().x] = partial[0];
  }
};

}  // namespace espalier::kernels::slices
