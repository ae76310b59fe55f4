#pragma once
// Softmax cross entropy for the GPU where rows are long: a warp a row.

#include "kernels/softmax_cross_entropy.h"
#include "kernels/warp.h"

namespace espalier::kernels::rows {

/// Below this many logits a thread a row is as good.
constexpr int kLeastLogits = 32;

ESPALIER_SIMT float warp_sum(float v) {
  ESPALIER_UNROLL
  for (int mask = 1; mask < warp::kLanes; mask *= 2) v += warp::shuffle_xor(v, mask);
  return v;
}
ESPALIER_SIMT float warp_largest(float v) {
  ESPALIER_UNROLL
  for (int mask = 1; mask < warp::kLanes; mask *= 2) {
    const float other = warp::shuffle_xor(v, mask);
    v = other > v ? other : v;
  }
  return v;
}

/// What every lane of a row's warp knows: the largest logit, the sum of exp(x - largest), of x - largest.
struct RowSums {
  float top, exponentials, distances;
  ESPALIER_SIMT static RowSums of(const float* x, int K) {
    const int lane = warp::thread() % warp::kLanes;
    float top = x[0];
    for (int k = lane; k < K; k += warp::kLanes) top = x[k] > top ? x[k] : top;
    top = warp_largest(top);
    float exponentials = 0, distances = 0;
    for (int k = lane; k < K; k += warp::kLanes) {
      exponentials += std::exp(x[k] - top);
      distances += x[k] - top;
    }
    return {top, warp_sum(exponentials), warp_sum(distances)};
  }
};

struct SoftmaxRows {
  static constexpr int kThreads = 128, kBlocks = 4, kSharedBytes = 0;
  static constexpr int kRows = kThreads / warp::kLanes;

  CrossEntropyProblem p;
  LossFactor factor;  ///< read where dx is written
  float* losses;      ///< or null
  float* dx;          ///< or null

  int64_t blocks() const { return (p.rows + kRows - 1) / kRows; }

  ESPALIER_SIMT void operator()() const {
    const int64_t row = int64_t{warp::block().x} * kRows + warp::thread() / warp::kLanes;
    const int lane = warp::thread() % warp::kLanes;
    if (row >= p.rows) return;
    const int label = p.labels[row];
    if (label == p.ignored_label) {
      if (losses && lane == 0) losses[row] = 0;
      if (dx)
        for (int k = lane; k < p.K; k += warp::kLanes) dx[row * p.K + k] = 0;
      return;
    }
    const float* x = p.logits + row * p.K;
    const RowSums sums = RowSums::of(x, p.K);
    const float s = p.label_smoothing, even = s / static_cast<float>(p.K);
    const float weight = p.weights ? p.weights[label] : 1.0f;
    if (losses && lane == 0)
      losses[row] =
          weight * (std::log(sums.exponentials) - (1 - s) * (x[label] - sums.top) - even * sums.distances);
    if (!dx) return;
    const float scale = factor() * weight;
    for (int k = lane; k < p.K; k += warp::kLanes)
      dx[row * p.K + k] =
          scale * (std::exp(x[k] - sums.top) / sums.exponentials - even - (k == label ? 1 - s : 0.0f));
  }
};

}  // namespace espalier::kernels::rows
