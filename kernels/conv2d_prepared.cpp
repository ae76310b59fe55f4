#include "kernels/conv2d_prepared.h"

#include <algorithm>

#include "kernels/conv2d_rows.h"
#include "kernels/device.h"
#include "kernels/grid.h"

namespace espalier::kernels {

using simd::kLanes;

namespace {

/// Input that one thread runs all its filters over before it goes on: leaves room for filters in a
/// second-level cache.
constexpr int64_t kChunkBytes = 192 << 10;

bool is_matrix(const ConvShape& s) { return s.R == 1 && s.S == 1 && s.stride == 1 && s.pad == Padding{}; }

struct Problem {
  const ConvShape& s;
  const PackedFilters& w;
  const float *x, *residual;
  float* y;  ///< of output line `origin`, like residual
  Activation act;
  int origin = 0;

  ConvTile tile(const FilterPanel& panel) const {
    ConvTile t;
    t.x = x;
    t.w = w.block(panel.first);
    t.bias = w.bias(panel.first);
    t.y = y + panel.first * kLanes;
    t.residual = residual ? residual + panel.first * kLanes : nullptr;
    t.x_row = int64_t{s.stride} * s.C;
    t.x_line = int64_t{s.W} * s.C;
    t.w_line = int64_t{s.S} * s.C * kLanes;
    t.w_block = w.block_stride();
    t.y_row = s.K;
    t.lines = s.R;
    t.run = s.S * s.C;
    t.channels = std::min(s.K - panel.first * kLanes, panel.blocks * kLanes);
    t.act = act;
    return t;
  }

  static void move_output(ConvTile& t, int64_t by) {
    t.y += by;
    if (t.residual) t.residual += by;
  }

  /// 1x1 with stride 1: the rows of a matrix product.
  void matrix(const Share& rows, const Share& blocks) const {
    const int chunk = std::max(conv_rows(2), static_cast<int>(kChunkBytes / (s.C * int64_t{sizeof(float)})));
    for (int first = rows.first; first < rows.last; first += chunk) {
      const int count = std::min(chunk, rows.last - first);
      for (int b = blocks.first; b < blocks.last;) {
        const FilterPanel panel = next_panel(b, blocks.last, count);
        ConvTile t = tile(panel);
        t.x += first * t.x_row;
        move_output(t, (first - int64_t{origin} * s.W) * t.y_row);
        run_conv_rows(t, panel.blocks, count);
        b += panel.blocks;
      }
    }
  }

  /// Output lines [p0, p1) of image n, all of which see the same rows of the filter.
  void lines(int n, int p0, int p1, const Share& blocks) const {
    const int P = s.P(), Q = s.Q(), top = p0 * s.stride - s.pad.top;
    const int r0 = std::max(0, -top), r1 = std::max(r0, std::min(s.R, s.H - top));
    // Columns [q0, q1) see all columns of the filter.
    const int q0 = std::min(Q, (s.pad.left + s.stride - 1) / s.stride);
    const int fitting = s.W - s.S + s.pad.left;
    const int q1 = std::clamp(fitting < 0 ? 0 : fitting / s.stride + 1, q0, Q);
    for (int b = blocks.first; b < blocks.last;) {
      const FilterPanel panel = next_panel(b, blocks.last, std::max(p1 - p0, q1 - q0));
      b += panel.blocks;
      ConvTile all = tile(panel);
      all.lines = r1 - r0;
      all.x += (int64_t{n} * s.H + top + r0) * s.W * s.C;
      all.w += r0 * all.w_line;
      move_output(all, (int64_t{n} * P + p0 - origin) * Q * s.K);
      for (int p = p0; q1 > q0 && p < p1; ++p) {
        ConvTile t = all;
        t.x += int64_t{p - p0} * s.stride * s.W * s.C + int64_t{q0 * s.stride - s.pad.left} * s.C;
        move_output(t, (int64_t{p - p0} * Q + q0) * s.K);
        run_conv_rows(t, panel.blocks, q1 - q0);
      }
      // The columns at both ends see a part of each filter row, the same part in every line: tiles go
      // downwards.
      for (int q = 0; q < Q; ++q) {
        if (q == q0) q = q1;
        if (q == Q) break;
        const int left = q * s.stride - s.pad.left;
        const int s0 = std::max(0, -left), s1 = std::max(s0, std::min(s.S, s.W - left));
        ConvTile t = all;
        t.run = (s1 - s0) * s.C;
        t.x += int64_t{left + s0} * s.C;
        t.w += int64_t{s0} * s.C * kLanes;
        move_output(t, int64_t{q} * s.K);
        t.x_row = int64_t{s.stride} * s.W * s.C;
        t.y_row = int64_t{Q} * s.K;
        run_conv_rows(t, panel.blocks, p1 - p0);
      }
    }
  }

  void windows(const Share& rows, const Share& blocks) const {
    const int P = s.P();
    const int64_t line_bytes = int64_t{s.stride} * s.W * s.C * int64_t{sizeof(float)};
    const int chunk = static_cast<int>(std::clamp<int64_t>(kChunkBytes / line_bytes, 1, P));
    const auto whole = [&](int p) {
      const int top = p * s.stride - s.pad.top;
      return top >= 0 && top + s.R <= s.H;
    };
    for (int row = rows.first; row < rows.last;) {
      const int n = row / P, p = row % P;
      int end = p + 1;
      if (whole(p))
        while (end < P && end - p < chunk && row + end - p < rows.last && whole(end)) ++end;
      lines(n, p, end, blocks);
      row += end - p;
    }
  }
};

}  // namespace

void PackedFilters::Free::operator()(float* memory) const { release(Device::kCpu, memory, 0); }

PackedFilters::PackedFilters(const float* w, const float* bias, int K, int R, int S, int C)
    : blocks_((K + kLanes - 1) / kLanes), block_stride_(int64_t{R} * S * C * kLanes) {
  const int64_t terms = int64_t{R} * S * C, padded = int64_t{blocks_} * kLanes;
  bytes_ = (blocks_ * block_stride_ + padded) * int64_t{sizeof(float)};
  memory_.reset(static_cast<float*>(allocate(Device::kCpu, static_cast<size_t>(bytes_))));
  for (int b = 0; b < blocks_; ++b) {
    float* block = memory_.get() + b * block_stride_;
    const int channels = std::min(kLanes, K - b * kLanes);
    if (channels < kLanes) std::fill_n(block, block_stride_, 0.0f);
    for (int64_t i = 0; i < terms; ++i)
      for (int k = 0; k < channels; ++k) block[i * kLanes + k] = w[(int64_t{b} * kLanes + k) * terms + i];
  }
  float* own_bias = memory_.get() + blocks_ * block_stride_;
  std::fill_n(own_bias, padded, 0.0f);
  if (bias) std::copy_n(bias, K, own_bias);
}

const float* PackedFilters::bias(int b) const {
  return memory_.get() + blocks_ * block_stride_ + int64_t{b} * kLanes;
}

void conv2d_lines(const ConvShape& s, Activation act, const PackedFilters& w, const float* x,
                  const float* residual, float* y, const Share& lines, const Share& blocks) {
  const Problem problem{s, w, x, residual, y, act, lines.first};
  if (is_matrix(s))
    problem.matrix({lines.first * s.W, lines.last * s.W}, blocks);
  else
    problem.windows(lines, blocks);
}

void conv2d_prepared(const ConvShape& s, Activation act, const PackedFilters& w, const float* x,
                     const float* residual, float* y, const Team& team) {
  const Problem problem{s, w, x, residual, y, act};
  const bool matrix = is_matrix(s);
  const int P = s.P(), Q = s.Q();
  const int rows = matrix ? s.N * P * Q : s.N * P, pixels = matrix ? 1 : Q;
  // Two multiply-adds a cycle; 16 bytes a cycle from a cache that is shared or another core's.
  const double terms = static_cast<double>(s.R) * s.S * s.C;
  const Grid grid = choose_grid(team.threads, rows, w.blocks(),
                                {.work = pixels * terms / 2,
                                 .row = pixels * s.C * sizeof(float) / 16.0,
                                 .column = terms * kLanes * sizeof(float) / 16.0});
  const Share own_rows = grid.rows(team, rows), own_blocks = grid.columns(team, w.blocks());
  if (matrix)
    problem.matrix(own_rows, own_blocks);
  else
    problem.windows(own_rows, own_blocks);
}

}  // namespace espalier::kernels
