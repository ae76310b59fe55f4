#include "kernels/winograd.h"

#include <algorithm>

#include "kernels/conv2d_rows.h"
#include "kernels/device.h"
#include "kernels/reference_only.h"
#include "kernels/scratch.h"
#include "kernels/winograd_transform.h"

namespace espalier::kernels {

using namespace winograd;

namespace {

struct Problem {
  const ConvShape& s;
  Activation act;
  const float *u, *bias;  ///< bias null, or whole vectors of channels
  const float *x, *residual;
  float* y;
  /// The sums over C of `count` tiles at every point.
  void products(const float* v, int64_t v_step, float* m, int64_t m_step, int count) const {
    alignas(64) static constexpr float kZeros[kMostFilterBlocks * kLanes] = {};
    const int blocks = (s.K + kLanes - 1) / kLanes;
    const int64_t block = int64_t{s.C} * kLanes;
    for (int point = 0; point < kPoints; ++point)
      for (int b = 0; b < blocks;) {
        const FilterPanel panel = next_panel(b, blocks, count);
        ConvTile t;
        t.x = v + point * v_step;
        t.w = u + (int64_t{point} * blocks + panel.first) * block;
        t.bias = kZeros;
        t.residual = nullptr;
        t.y = m + point * m_step + panel.first * kLanes;
        t.x_row = s.C;
        t.x_line = t.w_line = 0;
        t.w_block = block;
        t.y_row = s.K;
        t.lines = 1;
        t.run = s.C;
        t.channels = std::min(s.K - panel.first * kLanes, panel.blocks * kLanes);
        t.act = Activation::none();
        run_conv_rows(t, panel.blocks, count);
        b += panel.blocks;
      }
  }

  /// The outputs of the run from its sums M[point][tile][K], of which m is point 0. `lines` has room for kIn
  /// lines of the run.
  void output(const Run& run, const float* m, int64_t point_step, float* lines) const {
    const int rows = std::min(kOut, s.P() - run.p), columns = std::min(run.tiles * kOut, s.Q() - run.q);
    const int64_t line = int64_t{run.tiles} * kOut * s.K;
    for (int tile = 0; tile < run.tiles; ++tile, m += s.K)
      for (int i = 0; i < kIn; ++i) {
        float* to = lines + i * line + int64_t{tile} * kOut * s.K;
        for_vectors(s.K, [&](int k, const auto& load, const auto& store) {
          Vector d[kIn], o[kOut];
#pragma GCC unroll 6
          for (int j = 0; j < kIn; ++j) d[j] = load(m + (i * kIn + j) * point_step + k);
          transform_output(d, o);
#pragma GCC unroll 4
          for (int j = 0; j < kOut; ++j) store(to + j * s.K + k, o[j]);
        });
      }
    const VectorActivation activate(act);
    const int64_t first = ((int64_t{run.n} * s.P() + run.p) * s.Q() + run.q) * s.K,
                  y_line = int64_t{s.Q()} * s.K;
    for (int q = 0; q < columns; ++q)
      for_vectors(s.K, [&](int k, const auto& load, const auto& store) {
        const int64_t at = int64_t{q} * s.K + k;
        Vector d[kIn], o[kOut];
#pragma GCC unroll 6
        for (int i = 0; i < kIn; ++i) d[i] = load(lines + i * line + at);
        transform_output(d, o);
        const Vector offset = bias ? simd::load(bias + k) : simd::zero();
        for (int i = 0; i < rows; ++i) {
          Vector sum = simd::add(o[i], offset);
          if (residual) sum = simd::add(sum, load(residual + first + i * y_line + at));
          store(y + first + i * y_line + at, activate(sum));
        }
      });
  }
};

/// Tiles of the longest run, whose lines stay in a first-level cache.
int longest_run(const ConvShape& s) {
  constexpr int kBytes = 32 << 10;
  return std::clamp(kBytes / (kIn * kOut * std::max(s.C, s.K) * static_cast<int>(sizeof(float))), 1, 16);
}

/// Tiles that are transformed, multiplied and transformed back before the next: so few that what lies between
/// stays in a second-level cache, but so many that the filters, which may not, are worth fetching.
int tiles_at_once(const ConvShape& s) {
  constexpr int64_t kBytes = 512 << 10;
  const int64_t each = int64_t{kPoints} * (s.C + s.K) * int64_t{sizeof(float)};
  const int least = (int64_t{s.C} * s.K > (1 << 16) ? 8 : 2) * conv_rows(2);
  return std::max(least, static_cast<int>(kBytes / each));
}

/// Keeps the 36 matrices from falling onto the same lines of a first-level cache.
int64_t apart(int64_t floats) { return (floats + kLanes - 1) / kLanes * kLanes + kLanes; }

}  // namespace

int64_t winograd_filter_floats(int K, int C) {
  return int64_t{kPoints} * ((K + kLanes - 1) / kLanes) * kLanes * C;
}

void winograd_filters(const float* w, int K, int C, float* u, const Team& team) {
  const int blocks = (K + kLanes - 1) / kLanes;
  const int64_t point_step = int64_t{blocks} * kLanes * C;
  const Share share(blocks * C, team.thread, team.threads);
  alignas(64) float taps[3][3][kLanes] = {};  // of one input channel; lanes past K stay 0
  for (int i = share.first; i < share.last; ++i) {
    const int k0 = i / C * kLanes, c = i % C, count = std::min(kLanes, K - k0);
    Vector filters[3][3];
    for (int r = 0; r < 3; ++r)
      for (int t = 0; t < 3; ++t) {
        const float* from = w + ((int64_t{k0} * 3 + r) * 3 + t) * C + c;
        for (int k = 0; k < count; ++k) taps[r][t][k] = from[int64_t{k} * 9 * C];
        for (int k = count; k < kLanes; ++k) taps[r][t][k] = 0;
        filters[r][t] = simd::load(taps[r][t]);
      }
    float* to = u + int64_t{i} * kLanes;
    transform_filters(filters, [&](int point, Vector v) { simd::store(to + point * point_step, v); });
  }
}

void winograd_turned_filters(const float* w, int K, int C, float* u, const Team& team) {
  const int blocks = (C + kLanes - 1) / kLanes;
  const int64_t point_step = int64_t{blocks} * kLanes * K;
  const Share share(blocks * K, team.thread, team.threads);
  for (int i = share.first; i < share.last; ++i) {
    const int c0 = i / K * kLanes, k = i % K, count = std::min(kLanes, C - c0);
    const float* from = w + int64_t{k} * 9 * C + c0;
    Vector filters[3][3];
    for (int r = 0; r < 3; ++r)
      for (int t = 0; t < 3; ++t) {
        const float* tap = from + ((2 - r) * 3 + 2 - t) * C;
        filters[r][t] = count == kLanes ? simd::load(tap) : simd::load(tap, count);
      }
    float* to = u + int64_t{i} * kLanes;
    transform_filters(filters, [&](int point, Vector v) { simd::store(to + point * point_step, v); });
  }
}

void WinogradFilters::Free::operator()(float* memory) const { release(Device::kCpu, memory, 0); }

WinogradFilters::WinogradFilters(const float* w, const float* bias, int K, int C) {
  const int64_t floats = winograd_filter_floats(K, C), padded = (K + kLanes - 1) / kLanes * kLanes;
  bytes_ = (floats + padded) * int64_t{sizeof(float)};
  memory_.reset(static_cast<float*>(allocate(Device::kCpu, static_cast<size_t>(bytes_))));
  winograd_filters(w, K, C, memory_.get(), {});
  bias_ = memory_.get() + floats;
  std::fill_n(bias_, padded, 0.0f);
  if (bias) std::copy_n(bias, K, bias_);
}

bool winograd_applies(const ConvShape& s) {
  return !direct_only() && s.R == 3 && s.S == 3 && s.stride == 1 && s.C >= 2 * kLanes && s.K >= 2 * kLanes;
}

bool winograd_pays(const ConvShape& s) {
  constexpr int kFewestTiles = 64;
  constexpr int64_t kMostFilters = 512 * 512;
  return winograd_applies(s) && Tiling(s, kOut).tiles() >= kFewestTiles && int64_t{s.C} * s.K <= kMostFilters;
}

bool winograd_suits(const ConvShape& s) {
  constexpr int64_t kMostFilters = 256 * 512;
  return winograd_applies(s) && int64_t{s.C} * s.K <= kMostFilters;
}

void winograd_prepared(const ConvShape& s, Activation act, const WinogradFilters& w, const float* x,
                       const float* residual, float* y, const Team& team) {
  winograd_conv2d(s, act, w.filters(), w.bias(), x, residual, y, team);
}

void winograd_conv2d(const ConvShape& s, Activation act, const float* u, const float* bias, const float* x,
                     const float* residual, float* y, const Team& team) {
  const Problem problem{s, act, u, bias, x, residual, y};
  const Tiling tiling(s, kOut);
  const Share share(tiling.tiles(), team.thread, team.threads);
  if (share.count() <= 0) return;
  const int rounds = (share.count() + tiles_at_once(s) - 1) / tiles_at_once(s);
  const int most = (share.count() + rounds - 1) / rounds;
  const int64_t v_step = apart(int64_t{most} * s.C), m_step = apart(int64_t{most} * s.K);
  const int longest = longest_run(s);
  const int64_t line = apart(line_floats(longest, std::max(s.C, s.K)));
  struct Tag {};
  float* zeros = scratch<Tag>(static_cast<size_t>((1 + kIn) * line + kPoints * (v_step + m_step)));
  float *lines = zeros + line, *v = lines + kIn * line, *m = v + kPoints * v_step;
  std::fill_n(zeros, line, 0.0f);
  for (int round = 0; round < rounds; ++round) {
    const Share part(share.count(), round, rounds);
    const int first = share.first + part.first, last = share.first + part.last;
    tiling.for_runs(first, last, longest, [&](const Run& run, int64_t at) {
      transform_run(s, x, run, 0, s.C, zeros, lines, v + at * s.C, v_step);
    });
    problem.products(v, v_step, m, m_step, part.count());
    tiling.for_runs(first, last, longest,
                    [&](const Run& run, int64_t at) { problem.output(run, m + at * s.K, m_step, lines); });
  }
}

}  // namespace espalier::kernels
