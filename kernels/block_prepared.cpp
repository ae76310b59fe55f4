#include "kernels/block_prepared.h"

#include <algorithm>

#include "kernels/simd.h"

namespace espalier::kernels {

namespace {

/// What one thread keeps of intermediate lines: half of a second-level cache, filters need the rest.
constexpr int64_t kScratchBytes = 384 << 10;
constexpr int kMaxLines = 32;

/// Bands of lines: each thread takes some output lines and goes down them a few at a time, through all three
/// kernels. Lines of the first kernel live in a ring; those that two bands need are made twice.
struct Bands {
  const BlockProblem& b;
  int lines;  ///< of output, of all images
  int step;   ///< output lines at a time
  int ring;   ///< lines of the first kernel that `step` output lines see

  Bands(const BlockProblem& b, int threads) : b(b), lines(b.depthwise.N * b.depthwise.P()) {
    const ConvShape& d = b.depthwise;
    const int64_t float_bytes = sizeof(float), in_line = int64_t{d.W} * d.C * float_bytes,
                  out_line = int64_t{d.Q()} * d.C * float_bytes;
    // step * out_line + ((step - 1) * stride + R) * in_line <= kScratchBytes
    const int64_t fitting = (kScratchBytes - (d.R - d.stride) * in_line) / (out_line + d.stride * in_line);
    step = static_cast<int>(std::clamp<int64_t>(fitting, 1, std::min(kMaxLines, d.P())));
    // Scratch lies in the tensors themselves, an equal part for each thread.
    const int most_ring = d.N * d.H / threads;
    step = std::min({step, std::max(1, lines / threads), std::max(1, (most_ring - d.R) / d.stride + 1)});
    ring = (step - 1) * d.stride + d.R;
    if (ring > most_ring || lines < threads) step = 0;
  }

  bool possible() const { return step > 0; }

  /// Work of the busiest thread over an equal share of the least work.
  double overhead(int threads) const {
    const ConvShape& d = b.depthwise;
    const double own = (lines + threads - 1) / threads;
    const double first = static_cast<double>(b.first.K) * b.first.R * b.first.S * b.first.C * d.H * d.W,
                 rest = static_cast<double>(d.C) * (d.R * d.S + b.last.K) * d.P() * d.Q();
    const double halo = threads > 1 ? std::max(0, d.R - d.stride) / (own * d.stride) : 0;
    return own * threads / lines * (1 + halo * first / (first + rest));
  }

  void run(const Team& team) const {
    const ConvShape& d = b.depthwise;
    const Share own(lines, team.thread, team.threads);
    const int64_t in_line = int64_t{d.W} * d.C, out_line = int64_t{d.Q()} * d.C;
    float* expanded = b.expanded + int64_t{team.thread} * ring * in_line;
    float* filtered = b.filtered + int64_t{team.thread} * step * out_line;
    const Share all_first(0, b.first_w->blocks()), all_depthwise(0, b.depthwise_w->blocks()),
        all_last(0, b.last_w->blocks());
    const int P = d.P();
    int image = -1, made = 0;  // lines of the image that the first kernel has gone through
    for (int line = own.first; line < own.last;) {
      const int n = line / P, p = line % P, count = std::min({step, own.last - line, P - p});
      const int top = p * d.stride - d.pad.top, bottom = std::min(d.H, top + (count - 1) * d.stride + d.R);
      if (n != image) image = n, made = 0;
      made = std::max({made, top, 0});
      while (made < bottom) {
        const int slot = made % ring, some = std::min(bottom - made, ring - slot);
        conv2d_lines(b.first, b.first_act, *b.first_w, b.x, nullptr, expanded + slot * in_line,
                     {n * d.H + made, n * d.H + made + some}, all_first);
        made += some;
      }
      DepthwiseLine table[kMaxLines];
      for (int i = 0; i < count; ++i) {
        table[i] = depthwise_line(d, p + i);
        table[i].x = (top + i * d.stride + table[i].first) % ring * in_line;
        table[i].y = i * out_line;
      }
      depthwise_lines(d, b.depthwise_act, *b.depthwise_w, expanded, ring, nullptr, filtered,
                      {table, static_cast<size_t>(count)}, all_depthwise);
      const int64_t at = int64_t{line} * d.Q() * b.last.K;
      const ConvShape rows{1, 1, count * d.Q(), d.C, b.last.K, 1, 1, 1, {}};
      conv2d_lines(rows, b.last_act, *b.last_w, filtered, b.residual ? b.residual + at : nullptr, b.y + at,
                   {0, 1}, all_last);
      line += count;
    }
  }
};

/// Slices of channels: each thread takes some channels through the first two kernels, which stay in its
/// cache.
void run_slices(const BlockProblem& b, const Team& team) {
  if (team.step == 1) {
    conv2d_prepared(b.last, b.last_act, *b.last_w, b.filtered, b.residual, b.y, team);
    return;
  }
  const ConvShape& d = b.depthwise;
  const Share own(b.depthwise_w->blocks(), team.thread, team.threads);
  if (own.count() > 0)
    for (int n = 0; n < d.N; ++n) {
      conv2d_lines(b.first, b.first_act, *b.first_w, b.x, nullptr, b.expanded + int64_t{n} * d.H * d.W * d.C,
                   {n * d.H, (n + 1) * d.H}, own);
      depthwise_part(d, b.depthwise_act, *b.depthwise_w, b.expanded, nullptr, b.filtered,
                     {n * d.P(), (n + 1) * d.P()}, own);
    }
}

double slices_overhead(const BlockProblem& b, int threads) {
  const int blocks = b.depthwise_w->blocks();
  return static_cast<double>((blocks + threads - 1) / threads * threads) / blocks;
}

}  // namespace

bool is_block(const ConvShape& first, const ConvShape& depthwise, const ConvShape& last) {
  return first.N == depthwise.N && first.P() == depthwise.H && first.Q() == depthwise.W &&
         first.K == depthwise.C && depthwise.N == last.N && depthwise.P() == last.H &&
         depthwise.Q() == last.W && depthwise.C == last.C && last.R == 1 && last.S == 1 && last.stride == 1 &&
         last.pad == Padding{};
}

void block_prepared(const BlockProblem& b, const Team& team) {
  const Bands bands(b, team.threads);
  const ConvShape& d = b.depthwise;
  // A slice that outgrows the cache loses what it is for.
  const int64_t slice_bytes = int64_t{d.H} * d.W * d.C * int64_t{sizeof(float)} / team.threads;
  const bool slices_fit = slice_bytes <= kScratchBytes;
  if (!bands.possible() || (slices_fit && bands.overhead(team.threads) > slices_overhead(b, team.threads)))
    run_slices(b, team);
  else if (team.step == 0)
    bands.run(team);
}

}  // namespace espalier::kernels
