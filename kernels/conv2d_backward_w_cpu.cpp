// dw of dense convolutions without stride and with windows of more than a pixel:
//
//   dw[k,r,t,c] = sum over n,p,q of dy[n,p,q,k] * x[n,p+r,q+t,c], x with its padding
//
// Lines of the padded image lie one behind the other, and those of dy are filled up with zeros to the same
// length; then every tap is the product of two panels, one of them shifted by a fixed number of pixels.

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "kernels/conv2d_cpu.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"

namespace espalier::kernels::cpu {

namespace {

using simd::kLanes;
using simd::Vector;

/// A tile of dw in registers: kRows filters by kVectors vectors of channels.
constexpr int kRows = simd::kRegisters >= 32 ? 8 : 4, kVectors = 2, kColumns = kVectors * kLanes;
constexpr int kTile = kRows * kColumns;
constexpr int kRun = 256;  ///< pixels that a tile sums up between two of its visits to memory

int rounded_up(int n, int unit) { return (n + unit - 1) / unit * unit; }
int quotient(int n, int unit) { return (n + unit - 1) / unit; }

/// How the work is cut: jobs of some filters by some channels whose sums stay in a second-level cache, each
/// over `parts` shares of the lines.
struct Cut {
  int width;              ///< of a padded line
  int filters, channels;  ///< of a job, in whole tiles
  int down, across;       ///< jobs
  int parts;
  int lines;     ///< of dy in one block
  int64_t sums;  ///< floats of one job's sums

  Cut(const ConvShape& s, int threads) {
    constexpr int kMostSums = 72 * 1024, kBlock = 512;
    width = s.W + s.pad.left + s.pad.right;
    channels = std::min(rounded_up(s.C, kColumns), 2 * kColumns);
    const int taps = s.R * s.S;
    filters = std::clamp(kMostSums / (taps * channels) / kRows * kRows, kRows, rounded_up(s.K, kRows));
    down = quotient(s.K, filters);
    across = quotient(s.C, channels);
    // Few jobs, or a last round with idle threads: share the lines too.
    const int jobs = down * across, rounds = quotient(jobs, threads);
    parts = jobs * 10 >= rounds * threads * 9 ? 1 : std::min(threads, s.N * s.P());
    lines = std::max(1, (kBlock + width / 2) / width);
    sums = int64_t{taps} * filters * channels;
  }
};

/// to[tile][pixel][kUnit]: channels [first, first + count) of a line, the tail of the last tile zero.
template <int kUnit>
void pack_line(const float* from, int pixels, int stride, int first, int count, int64_t panel, float* to) {
  for (int c = 0; c < count; c += kUnit, to += panel) {
    const int n = std::min(kUnit, count - c);
    const float* in = from + first + c;
    float* out = to;
    if (n == kUnit)
      for (int i = 0; i < pixels; ++i, out += kUnit, in += stride)
        std::memcpy(out, in, sizeof(float) * kUnit);
    else
      for (int i = 0; i < pixels; ++i, out += kUnit, in += stride) {
        std::memset(out, 0, sizeof(float) * kUnit);
        std::memcpy(out, in, sizeof(float) * n);
      }
  }
}

/// sums[kRows][kColumns] += dy[i][kRows]^T x[i][kColumns] over the run.
void add_run(const float* dy, const float* x, int run, float* sums) {
  Vector acc[kRows][kVectors];
  for (int k = 0; k < kRows; ++k)
    for (int v = 0; v < kVectors; ++v) acc[k][v] = simd::load(sums + k * kColumns + v * kLanes);
  for (int i = 0; i < run; ++i, dy += kRows, x += kColumns) {
    Vector in[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      in[v] = simd::load(x + v * kLanes);
      simd::hold(in[v]);
    }
#pragma GCC unroll 8
    for (int k = 0; k < kRows; ++k) {
      Vector g = simd::broadcast(dy[k]);
      simd::hold(g);
      for (int v = 0; v < kVectors; ++v) acc[k][v] = simd::fma(g, in[v], acc[k][v]);
    }
  }
  for (int k = 0; k < kRows; ++k)
    for (int v = 0; v < kVectors; ++v) simd::store(sums + k * kColumns + v * kLanes, acc[k][v]);
}

/// The sums of one job over lines [first, last) of all images: [tile of channels][tap][tile of
/// filters][kTile].
void run_job(const ConvShape& s, const Cut& cut, int k0, int c0, int first, int last, const float* x,
             const float* dy, float* sums) {
  struct X;
  struct Dy;
  const int K = std::min(cut.filters, s.K - k0), C = std::min(cut.channels, s.C - c0);
  const int rows = quotient(K, kRows), columns = quotient(C, kColumns), P = s.P(), Q = s.Q();
  const int64_t x_panel = (int64_t{cut.lines + s.R - 1} * cut.width + s.S) * kColumns,
                dy_panel = int64_t{cut.lines} * cut.width * kRows;
  float *xs = scratch<X>(columns * x_panel), *dys = scratch<Dy>(rows * dy_panel);
  std::memset(sums, 0, sizeof(float) * cut.sums);
  for (int line = first; line < last;) {
    const int n = line / P, p = line % P, count = std::min({cut.lines, P - p, last - line});
    line += count;
    // Everything that is not written below is padding.
    std::memset(xs, 0, sizeof(float) * columns * x_panel);
    std::memset(dys, 0, sizeof(float) * rows * dy_panel);
    for (int i = 0; i < count + s.R - 1; ++i) {
      const int h = p + i - s.pad.top;
      if (h < 0 || h >= s.H) continue;
      pack_line<kColumns>(x + (int64_t{n} * s.H + h) * s.W * s.C, s.W, s.C, c0, C, x_panel,
                          xs + (int64_t{i} * cut.width + s.pad.left) * kColumns);
    }
    for (int i = 0; i < count; ++i)
      pack_line<kRows>(dy + (int64_t{n} * P + p + i) * Q * s.K, Q, s.K, k0, K, dy_panel,
                       dys + int64_t{i} * cut.width * kRows);
    const int pixels = count * cut.width;
    for (int column = 0; column < columns; ++column)
      for (int at = 0; at < pixels; at += kRun)
        for (int tap = 0; tap < s.R * s.S; ++tap) {
          const int shift = tap / s.S * cut.width + tap % s.S;
          const float* in = xs + column * x_panel + (at + shift) * int64_t{kColumns};
          float* to = sums + (int64_t{column} * s.R * s.S + tap) * (cut.filters / kRows) * kTile;
          for (int row = 0; row < rows; ++row)
            add_run(dys + row * dy_panel + int64_t{at} * kRows, in, std::min(kRun, pixels - at),
                    to + row * kTile);
        }
  }
}

}  // namespace

bool conv2d_backward_w_tiled(const ConvShape& s, const float* x, const float* dy, float* dw) {
  struct Sums;
  if (s.stride != 1 || s.R * s.S == 1 || s.C < kLanes || s.K < kRows) return false;
  const Cut cut(s, omp_get_max_threads());
  const int jobs = cut.down * cut.across, taps = s.R * s.S, lines = s.N * s.P();
  float* sums = scratch<Sums>(static_cast<size_t>(jobs) * cut.parts * cut.sums);
#pragma omp parallel for schedule(static)
  for (int i = 0; i < jobs * cut.parts; ++i) {
    const int job = i / cut.parts, part = i % cut.parts;
    run_job(s, cut, job / cut.across * cut.filters, job % cut.across * cut.channels,
            static_cast<int>(int64_t{lines} * part / cut.parts),
            static_cast<int>(int64_t{lines} * (part + 1) / cut.parts), x, dy, sums + i * cut.sums);
  }
#pragma omp parallel for schedule(static)
  for (int k = 0; k < s.K; ++k)
    for (int tap = 0; tap < taps; ++tap) {
      float* out = dw + (int64_t{k} * taps + tap) * s.C;
      for (int c = 0; c < s.C; c += kColumns) {
        const int64_t job = int64_t{k / cut.filters} * cut.across + c / cut.channels;
        const int column = c % cut.channels / kColumns, row = k % cut.filters;
        const int64_t at = ((int64_t{column} * taps + tap) * (cut.filters / kRows) + row / kRows) * kTile +
                           row % kRows * kColumns;
        const int n = std::min(kColumns, s.C - c);
        const float* from = sums + job * cut.parts * cut.sums + at;
        std::memcpy(out + c, from, sizeof(float) * n);
        for (int part = 1; part < cut.parts; ++part)
#pragma omp simd
          for (int j = 0; j < n; ++j) out[c + j] += from[part * cut.sums + j];
      }
    }
  return true;
}

}  // namespace espalier::kernels::cpu
