#include "kernels/winograd.h"

#include <algorithm>

#include "kernels/conv2d_rows.h"
#include "kernels/scratch.h"

namespace espalier::kernels {

using simd::kLanes;
using simd::Vector;

namespace {

constexpr int kOut = 4, kIn = 6, kPoints = kIn * kIn;

/// B' of six values, the points being 0, 1, -1, 2, -2 and infinity.
inline void transform_input(const Vector d[kIn], Vector t[kIn]) {
  using namespace simd;
  const Vector two = broadcast(2), minus_two = broadcast(-2), four = broadcast(4), minus_four = broadcast(-4),
               minus_five = broadcast(-5);
  const Vector a = fma(minus_four, d[2], d[4]), b = fma(minus_four, d[1], d[3]);
  const Vector c = subtract(d[4], d[2]), e = subtract(d[3], d[1]);
  t[0] = fma(four, d[0], fma(minus_five, d[2], d[4]));
  t[1] = add(a, b);
  t[2] = subtract(a, b);
  t[3] = fma(two, e, c);
  t[4] = fma(minus_two, e, c);
  t[5] = fma(four, d[1], fma(minus_five, d[3], d[5]));
}

/// A' of six values.
inline void transform_output(const Vector m[kIn], Vector y[kOut]) {
  using namespace simd;
  const Vector two = broadcast(2), four = broadcast(4), eight = broadcast(8);
  const Vector p = add(m[1], m[2]), q = subtract(m[1], m[2]), r = add(m[3], m[4]), s = subtract(m[3], m[4]);
  y[0] = add(add(m[0], p), r);
  y[1] = fma(two, s, q);
  y[2] = fma(four, r, p);
  y[3] = add(fma(eight, s, q), m[5]);
}

/// body(at, load, store) for every vector of `count` floats, the last one with loads and stores of what is
/// left.
template <class Body>
void for_vectors(int count, const Body& body) {
  int at = 0;
  for (; at + kLanes <= count; at += kLanes)
    body(
        at, [](const float* p) { return simd::load(p); }, [](float* p, Vector v) { simd::store(p, v); });
  if (const int tail = count - at)
    body(
        at, [=](const float* p) { return simd::load(p, tail); },
        [=](float* p, Vector v) { simd::store(p, v, tail); });
}

/// G w G' of one 3x3 filter, w[r * step_r + s * step_s], in double: it is done once.
void transform_filter(const float* w, int64_t step_r, int64_t step_s, float u[kPoints]) {
  constexpr double G[kIn][3] = {{1 / 4., 0, 0},
                                {-1 / 6., -1 / 6., -1 / 6.},
                                {-1 / 6., 1 / 6., -1 / 6.},
                                {1 / 24., 1 / 12., 1 / 6.},
                                {1 / 24., -1 / 12., 1 / 6.},
                                {0, 0, 1}};
  for (int i = 0; i < kIn; ++i)
    for (int j = 0; j < kIn; ++j) {
      double sum = 0;
      for (int r = 0; r < 3; ++r)
        for (int s = 0; s < 3; ++s) sum += G[i][r] * G[j][s] * double{w[r * step_r + s * step_s]};
      u[i * kIn + j] = static_cast<float>(sum);
    }
}

/// Neighbouring tiles of one line of tiles.
struct Run {
  int n, p, q;  ///< image and first output
  int tiles;
};

struct Problem {
  const ConvShape& s;
  Activation act;
  const WinogradFilters& w;
  const float *x, *residual;
  float* y;
  int down, across;  ///< tiles of an image

  int tiles() const { return s.N * down * across; }

  /// What begins at tile t, with at most `most` tiles.
  Run run(int t, int most) const {
    const int column = t % across;
    return {t / (down * across), t / across % down * kOut, column * kOut, std::min(most, across - column)};
  }

  /// V[point][tile][C] of the run's tiles, of which v is point 0. Down the lines first, which are read as
  /// they lie and serve both tiles that share a column. `zeros` and `lines` have room for one and for kIn
  /// lines of the run.
  void input(const Run& run, const float* zeros, float* lines, float* v, int64_t point_step) const {
    const int width = run.tiles * kOut + 2, left = run.q - s.pad.left, top = run.p - s.pad.top;
    const int first = std::clamp(-left, 0, width), last = std::clamp(s.W - left, first, width);
    const int64_t line = int64_t{width} * s.C;
    const float* from[kIn];
    for (int i = 0; i < kIn; ++i) {
      const bool inside = top + i >= 0 && top + i < s.H;
      from[i] = inside ? x + ((int64_t{run.n} * s.H + top + i) * s.W + left + first) * s.C : zeros;
      std::fill_n(lines + i * line, int64_t{first} * s.C, 0.0f);
      std::fill_n(lines + i * line + int64_t{last} * s.C, int64_t{width - last} * s.C, 0.0f);
    }
    for_vectors((last - first) * s.C, [&](int at, const auto& load, const auto& store) {
      Vector d[kIn], t[kIn];
#pragma GCC unroll 6
      for (int i = 0; i < kIn; ++i) d[i] = load(from[i] + at);
      transform_input(d, t);
      float* to = lines + int64_t{first} * s.C + at;
#pragma GCC unroll 6
      for (int i = 0; i < kIn; ++i) store(to + i * line, t[i]);
    });
    for (int tile = 0; tile < run.tiles; ++tile, v += s.C)
      for (int i = 0; i < kIn; ++i) {
        const float* at_tile = lines + i * line + int64_t{tile} * kOut * s.C;
        for_vectors(s.C, [&](int c, const auto& load, const auto& store) {
          Vector d[kIn], t[kIn];
#pragma GCC unroll 6
          for (int j = 0; j < kIn; ++j) d[j] = load(at_tile + j * s.C + c);
          transform_input(d, t);
#pragma GCC unroll 6
          for (int j = 0; j < kIn; ++j) store(v + (i * kIn + j) * point_step + c, t[j]);
        });
      }
  }

  /// The sums over C of `count` tiles at every point.
  void products(const float* v, int64_t v_step, float* m, int64_t m_step, int count) const {
    const int blocks = w.at(0).blocks();
    for (int point = 0; point < kPoints; ++point) {
      const PackedFilters& filters = w.at(point);
      for (int b = 0; b < blocks;) {
        const FilterPanel panel = next_panel(b, blocks, count);
        ConvTile t;
        t.x = v + point * v_step;
        t.w = filters.block(panel.first);
        t.bias = filters.bias(panel.first);
        t.residual = nullptr;
        t.y = m + point * m_step + panel.first * kLanes;
        t.x_row = s.C;
        t.x_line = t.w_line = 0;
        t.w_block = filters.block_stride();
        t.y_row = s.K;
        t.lines = 1;
        t.run = s.C;
        t.channels = std::min(s.K - panel.first * kLanes, panel.blocks * kLanes);
        t.act = Activation::none();
        run_conv_rows(t, panel.blocks, count);
        b += panel.blocks;
      }
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
        const Vector bias = simd::load(w.bias() + k);
        for (int i = 0; i < rows; ++i) {
          Vector sum = simd::add(o[i], bias);
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

WinogradFilters::WinogradFilters(const float* w, const float* bias, int K, int C) {
  const int64_t each = int64_t{K} * C;
  std::vector<float> transformed(static_cast<size_t>(each) * kPoints);
  for (int k = 0; k < K; ++k)
    for (int c = 0; c < C; ++c) {
      float u[kPoints];
      transform_filter(w + int64_t{k} * 9 * C + c, int64_t{3} * C, C, u);
      for (int point = 0; point < kPoints; ++point) transformed[point * each + int64_t{k} * C + c] = u[point];
    }
  for (int point = 0; point < kPoints; ++point)
    points_[point] = std::make_unique<PackedFilters>(transformed.data() + point * each, nullptr, K, 1, 1, C);
  bias_.resize(static_cast<size_t>(points_[0]->blocks()) * kLanes);
  if (bias) std::copy_n(bias, K, bias_.begin());
}

int64_t WinogradFilters::bytes() const {
  return kPoints * points_[0]->bytes() + static_cast<int64_t>(bias_.size() * sizeof(float));
}

bool winograd_suits(const ConvShape& s) {
  constexpr int64_t kMostFilters = 256 * 512;
  return s.R == 3 && s.S == 3 && s.stride == 1 && s.C >= 2 * kLanes && s.K >= 2 * kLanes &&
         int64_t{s.C} * s.K <= kMostFilters;
}

void winograd_prepared(const ConvShape& s, Activation act, const WinogradFilters& w, const float* x,
                       const float* residual, float* y, const Team& team) {
  const Problem problem{s, act, w, x, residual, y, (s.P() + kOut - 1) / kOut, (s.Q() + kOut - 1) / kOut};
  const Share share(problem.tiles(), team.thread, team.threads);
  if (share.count() <= 0) return;
  const int rounds = (share.count() + tiles_at_once(s) - 1) / tiles_at_once(s);
  const int most = (share.count() + rounds - 1) / rounds;
  const int64_t v_step = apart(int64_t{most} * s.C), m_step = apart(int64_t{most} * s.K);
  const int longest = longest_run(s);
  const int64_t line = apart((int64_t{longest} * kOut + 2) * std::max(s.C, s.K));
  struct Tag {};
  float* zeros = scratch<Tag>(static_cast<size_t>((1 + kIn) * line + kPoints * (v_step + m_step)));
  float *lines = zeros + line, *v = lines + kIn * line, *m = v + kPoints * v_step;
  std::fill_n(zeros, line, 0.0f);
  for (int round = 0; round < rounds; ++round) {
    const Share part(share.count(), round, rounds);
    const auto for_runs = [&](const auto& body) {
      for (int i = part.first; i < part.last;) {
        const Run run = problem.run(share.first + i, std::min(longest, part.last - i));
        body(run, i - part.first);
        i += run.tiles;
      }
    };
    for_runs([&](const Run& run, int64_t at) { problem.input(run, zeros, lines, v + at * s.C, v_step); });
    problem.products(v, v_step, m, m_step, part.count());
    for_runs([&](const Run& run, int64_t at) { problem.output(run, m + at * s.K, m_step, lines); });
  }
}

}  // namespace espalier::kernels
