// dw of dense 3x3 convolutions without stride, the gradient of winograd.h's formula:
//
//   dw = G' [sum over tiles of (A dy A') * (B' x B)] G
//
// with 36 products of a matrix [tiles,K] by one [tiles,C] where the direct sum has 144.

#include <omp.h>

#include <algorithm>

#include "kernels/conv2d_cpu.h"
#include "kernels/matrix_tile.h"
#include "kernels/scratch.h"
#include "kernels/team.h"
#include "kernels/winograd.h"
#include "kernels/winograd_transform.h"

namespace espalier::kernels::cpu {

namespace {

using namespace winograd;

/// A job's filters and channels, whose sums stay in a second-level cache beside kTiles transformed tiles.
constexpr int kFilters = 56, kChannels = 4 * kLanes;
constexpr int kTiles = 28, kLongestRun = 7;

int quotient(int n, int unit) { return (n + unit - 1) / unit; }

/// sums[rows][channels] += m[tile][rows]' v[tile][channels]
struct Product {
  const float *m, *v;
  float* sums;
  int64_t m_step, v_step, row;
  int depth;

  template <int MR, int NR>
  static void run(const Product& p) {
    TileSums<MR, NR> sum;
    for (int i = 0; i < MR; ++i)
      for (int j = 0; j < NR; ++j) sum[i][j] = simd::load(p.sums + i * p.row + j * kLanes);
    multiply_columns<MR, NR>(p.m, p.m_step, p.v, p.v_step, p.depth, sum);
    for (int i = 0; i < MR; ++i)
      for (int j = 0; j < NR; ++j) simd::store(p.sums + i * p.row + j * kLanes, sum[i][j]);
  }
};

/// The sums of filters [k0, k0 + filters) and channels [c0, c0 + channels) over some tiles.
struct Job {
  const ConvShape& s;
  const float *x, *dy;
  int k0, filters, c0, channels;

  /// M[point][tile][kFilters] of the run's tiles, of which m is point 0; what is past the image is zero.
  void gradient(const Run& run, float* m, int64_t point_step) const {
    const int P = s.P(), Q = s.Q();
    for (int tile = 0; tile < run.tiles; ++tile, m += kFilters) {
      const int left = run.q + tile * kOut;
      const float* corner = dy + ((int64_t{run.n} * P + run.p) * Q + left) * s.K + k0;
      for_vectors(filters, [&](int k, const auto& load, const auto& store) {
        Vector half[kIn][kOut];
        for (int j = 0; j < kOut; ++j) {
          Vector d[kOut], t[kIn];
          for (int i = 0; i < kOut; ++i) {
            const bool inside = run.p + i < P && left + j < Q;
            d[i] = inside ? load(corner + (int64_t{i} * Q + j) * s.K + k) : simd::zero();
          }
          transform_gradient(d, t);
          for (int i = 0; i < kIn; ++i) half[i][j] = t[i];
        }
        for (int i = 0; i < kIn; ++i) {
          Vector t[kIn];
          transform_gradient(half[i], t);
          for (int j = 0; j < kIn; ++j) store(m + (i * kIn + j) * point_step + k, t[j]);
        }
      });
    }
  }

  /// sums[point][kFilters][kChannels] over tiles [first, last).
  void run(int first, int last, float* sums) const {
    struct Tag {};
    const Tiling tiling(s, kOut);
    constexpr int64_t kPointSums = int64_t{kFilters} * kChannels;
    // A vector more, so that the matrices do not fall onto the same lines of a first-level cache.
    constexpr int64_t v_step = kTiles * kChannels + kLanes, m_step = kTiles * kFilters + kLanes;
    const int64_t line = line_floats(kLongestRun, kChannels);
    float* zeros = scratch<Tag>(static_cast<size_t>((1 + kIn) * line + kPoints * (v_step + m_step)));
    float *lines = zeros + line, *v = lines + kIn * line, *m = v + kPoints * v_step;
    std::fill_n(zeros, line, 0.0f);
    std::fill_n(sums, kPoints * kPointSums, 0.0f);
    if (channels < kChannels) std::fill_n(v, kPoints * v_step, 0.0f);
    for (int t = first; t < last; t += kTiles) {
      const int count = std::min(kTiles, last - t);
      tiling.for_runs(t, t + count, kLongestRun, [&](const Run& run, int64_t at) {
        transform_run(s, x, run, c0, channels, zeros, lines, v + at * channels, v_step);
        gradient(run, m + at * kFilters, m_step);
      });
      for (int point = 0; point < kPoints; ++point)
        for (int c = 0; c < channels; c += 2 * kLanes)
          for_each_tile_of_rows(filters, 2, [&](int row, int rows) {
            TileTable<Product>::at(rows, 2)({m + point * m_step + row, v + point * v_step + c,
                                             sums + point * kPointSums + int64_t{row} * kChannels + c,
                                             kFilters, channels, kChannels, count});
          });
    }
  }
};

/// dw of one job from the sums of its parts, which lie `step` floats apart.
void finish(const Job& job, const float* sums, int parts, int64_t step, float* dw) {
  for (int k = 0; k < job.filters; ++k)
    for_vectors(job.channels, [&](int c, const auto&, const auto& store) {
      Vector half[3][kIn];
      for (int j = 0; j < kIn; ++j) {
        Vector u[kIn], g[3];
        for (int i = 0; i < kIn; ++i) {
          const float* from = sums + (int64_t{i * kIn + j} * kFilters + k) * kChannels + c;
          u[i] = simd::load(from);
          for (int part = 1; part < parts; ++part) u[i] = simd::add(u[i], simd::load(from + part * step));
        }
        transform_filter_gradient(u, g);
        for (int i = 0; i < 3; ++i) half[i][j] = g[i];
      }
      for (int i = 0; i < 3; ++i) {
        Vector g[3];
        transform_filter_gradient(half[i], g);
        float* to = dw + ((int64_t{job.k0 + k} * 3 + i) * 3) * job.s.C + job.c0 + c;
        for (int j = 0; j < 3; ++j) store(to + int64_t{j} * job.s.C, g[j]);
      }
    });
}

}  // namespace

bool conv2d_backward_w_winograd(const ConvShape& s, const float* x, const float* dy, float* dw) {
  struct Sums;
  if (!winograd_pays(s)) return false;
  const int tiles = Tiling(s, kOut).tiles();
  const int down = quotient(s.K, kFilters), across = quotient(s.C, kChannels), jobs = down * across;
  const int threads = omp_get_max_threads(), rounds = quotient(jobs, threads);
  // Few jobs, or a last round with idle threads: share the tiles too.
  const int parts = jobs * 10 >= rounds * threads * 9 ? 1 : std::min(threads, quotient(tiles, kTiles));
  constexpr int64_t kSums = int64_t{kPoints} * kFilters * kChannels;
  float* sums = scratch<Sums>(static_cast<size_t>(jobs * parts * kSums));
  const auto job = [&](int i) {
    const Share k(s.K, i / across, down), c(quotient(s.C, kLanes), i % across, across);
    const int c0 = c.first * kLanes;
    return Job{s, x, dy, k.first, k.count(), c0, std::min(s.C, c.last * kLanes) - c0};
  };
#pragma omp parallel for schedule(static)
  for (int i = 0; i < jobs * parts; ++i) {
    const Share part(tiles, i % parts, parts);
    job(i / parts).run(part.first, part.last, sums + i * kSums);
  }
#pragma omp parallel for schedule(static)
  for (int i = 0; i < jobs; ++i) finish(job(i), sums + i * parts * kSums, parts, kSums, dw);
  return true;
}

}  // namespace espalier::kernels::cpu
