// Normalisation where its result has to exist: at the ends of residual branches, whose tensors are narrow.

#include "kernels/normed_conv_cpu.h"

#include <omp.h>

#include <algorithm>
#include <vector>

#include "kernels/conv2d_tile.h"
#include "kernels/simd.h"
#include "kernels/team.h"

namespace espalier::kernels::cpu {

using simd::kLanes;
using simd::load_part;
using simd::store_part;
using simd::Vector;

namespace {

/// Rows that stay in a first-level cache while the channels of a block run down them.
int64_t block_rows(int channels) { return std::max<int64_t>(8, 4096 / channels); }

}  // namespace

void normalize_forward(int64_t rows, int channels, const float* x, const InputNorm& norm,
                       const float* residual, float* y) {
  const int64_t block = block_rows(channels), blocks = (rows + block - 1) / block;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < blocks; ++i) {
    const VectorActivation act(norm.act);
    const int64_t first = i * block, last = std::min(rows, first + block);
    for (int c = 0; c < channels; c += kLanes) {
      const int n = channels - c;
      const Vector factor = load_part(norm.factor + c, n), offset = load_part(norm.offset + c, n);
      for (int64_t at = first * channels + c; at < last * channels; at += channels) {
        Vector v = simd::fma(factor, load_part(x + at, n), offset);
        if (residual) v = simd::add(v, load_part(residual + at, n));
        store_part(y + at, act(v), n);
      }
    }
  }
}

void normalize_backward(int64_t rows, int channels, const float* x, const InputNorm& norm, const float* y,
                        const float* dy, float* dx, float* sums, float* dresidual) {
  const int threads = omp_get_max_threads();
  const int64_t block = block_rows(channels);
  const size_t size = 2 * static_cast<size_t>(channels);
  std::vector<double> totals(size * threads);
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num(), team = omp_get_num_threads();
    double* total = totals.data() + size * thread;
    const Vector slope = simd::broadcast(norm.act.slope), cap = simd::broadcast(norm.act.cap);
    const int64_t end = begin_of_share(rows, thread + 1, team);
    for (int64_t first = begin_of_share(rows, thread, team); first < end; first += block) {
      const int64_t last = std::min(end, first + block);
      for (int c = 0; c < channels; c += kLanes) {
        const int n = channels - c;
        const Vector factor = load_part(norm.factor + c, n);
        const Vector mean = load_part(norm.mean + c, n);
        Vector sum = simd::zero(), product = simd::zero();
        for (int64_t at = first * channels + c; at < last * channels; at += channels) {
          Vector g = load_part(dy + at, n);
          if (y) {
            const Vector out = load_part(y + at, n);
            g = simd::if_greater(out, simd::zero(), g, simd::multiply(slope, g));
            g = simd::if_greater(cap, out, g, simd::zero());
          }
          sum = simd::add(sum, g);
          product = simd::fma(g, simd::subtract(load_part(x + at, n), mean), product);
          store_part(dx + at, simd::multiply(g, factor), n);
          if (dresidual) store_part(dresidual + at, g, n);
        }
        alignas(64) float parts[2][kLanes];
        simd::store(parts[0], sum);
        simd::store(parts[1], product);
        for (int i = 0; i < std::min(kLanes, n); ++i) {
          total[c + i] += parts[0][i];
          total[channels + c + i] += parts[1][i];
        }
      }
    }
  }
  for (size_t i = 0; i < size; ++i) {
    double total = 0;
    for (size_t at = i; at < totals.size(); at += size) total += totals[at];
    sums[i] = static_cast<float>(total);
  }
}

}  // namespace espalier::kernels::cpu
