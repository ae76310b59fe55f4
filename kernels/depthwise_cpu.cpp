// Depthwise convolution for training. A thread takes its share of the lines; what it reads goes through a
// ring of lines in its second-level cache, laid out as [channel block][pixel][lanes] with zeros around the
// image, so that the inner loops see neither borders nor normalisation nor strides. The backward pass makes
// both gradients from one reading of each line.

#include "kernels/depthwise_cpu.h"

#include <omp.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/depthwise_tiles_cpu.h"
#include "kernels/normed_conv_cpu.h"
#include "kernels/scratch.h"
#include "kernels/team.h"

namespace espalier::kernels {

using namespace depthwise;

namespace {

/// visit(first, count) for nearly equal parts of at most `most`.
template <class Visit>
void for_each_part(int count, int most, Visit visit) {
  const int parts = (count + most - 1) / most;
  for (int i = 0, done = 0; i < parts; ++i) {
    const int n = (count - done) / (parts - i);
    visit(done, n);
    done += n;
  }
}

/// The filter's lines [first, last) that meet the image when its line 0 lies at image line `top`.
std::pair<int, int> lines_inside(int R, int top, int height) {
  const int first = std::max(0, -top);
  return {first, std::max(first, std::min(R, height - top))};
}

/// Adds a thread's floats to its doubles and clears them.
void move_sums(std::vector<float>& from, double* to) {
  for (size_t i = 0; i < from.size(); ++i) to[i] += from[i];
  std::fill(from.begin(), from.end(), 0.0f);
}

/// The value of row `row` of rows in blocks, channel c, summed over threads in their order.
double over_threads(const std::vector<double>& sums, size_t size, int rows, int row, int c) {
  double total = 0;
  const size_t at = (static_cast<size_t>(c / kLanes) * rows + row) * kLanes + c % kLanes;
  for (size_t i = at; i < sums.size(); i += size) total += sums[i];
  return total;
}

/// The output pixel in the middle of the first image, filled up with zeros. Moments are of the distance to
/// it: squares of what lies far from 0 would lose digits.
std::vector<float> middle_pixel(const ConvShape& s, const float* x, const InputNorm& norm, const float* w) {
  std::vector<float> y(static_cast<size_t>(blocks_of(s.C)) * kLanes);
  const int top = s.P() / 2 * s.stride - s.pad.top, left = s.Q() / 2 * s.stride - s.pad.left;
  for (int r = 0; r < s.R; ++r)
    for (int t = 0; t < s.S; ++t) {
      const int h = top + r, v = left + t;
      if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
      const float* pixel = x + (int64_t{h} * s.W + v) * s.C;
      for (int c = 0; c < s.C; ++c) {
        float z = pixel[c];
        if (norm.factor) {
          z = norm.factor[c] * z + norm.offset[c];
          z = norm.act(z);
        }
        y[static_cast<size_t>(c)] += z * w[(r * s.S + t) * s.C + c];
      }
    }
  return y;
}

struct InputRing;
struct GradientRing;

}  // namespace

namespace cpu {

bool normed_depthwise_forward(const ConvShape& s, const float* x, const InputNorm& norm, const float* w,
                              const Epilogue& e, float* y, float* moments) {
  if (s.R > kMostLines) return false;
  const int P = s.P(), Q = s.Q(), blocks = blocks_of(s.C), threads = omp_get_max_threads();
  const int after = std::max(0, (Q - 1) * s.stride + s.S - s.pad.left - s.W);
  const InputLines input(s, x, norm);
  const std::vector<float> filters = in_blocks(w, s.R * s.S, s.C);
  const ForwardFunction* functions = forward_functions(s.S, s.stride);
  const size_t sum_floats = moments ? static_cast<size_t>(2) * blocks * kLanes : 0;
  std::vector<double> totals(sum_floats * threads);
  std::vector<float> pivot;
  if (moments) pivot = middle_pixel(s, x, norm, w);
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num(), team = omp_get_num_threads();
    Ring ring(scratch<InputRing>(Ring::floats(s.R, blocks, s.pad.left, s.W, after)), s.R, blocks, s.pad.left,
              s.W, after);
    std::vector<float> sums(sum_floats);
    const int64_t last = begin_of_share(int64_t{s.N} * P, thread + 1, team);
    for (int64_t row = begin_of_share(int64_t{s.N} * P, thread, team); row < last; ++row) {
      const int64_t image = row / P;
      const int top = static_cast<int>(row % P) * s.stride - s.pad.top;
      const auto [r0, r1] = lines_inside(s.R, top, s.H);
      ForwardTile t{};
      for (int r = r0; r < r1; ++r) {
        const int64_t line = image * s.H + top + r;
        t.x[static_cast<size_t>(r - r0)] = ring.line(line, [&](float* to) {
          input.make(line, ring.block_stride(), to);
        }) - s.pad.left * kLanes;
      }
      t.lines = r1 - r0;
      t.S = s.S;
      t.stride = s.stride;
      t.pixel = s.C;
      t.act = e.act;
      for (int b = 0; b < blocks; ++b) {
        const int64_t at = row * Q * s.C + b * kLanes;
        t.w = filters.data() + (int64_t{b} * s.R + r0) * s.S * kLanes;
        t.bias = e.bias ? e.bias + b * kLanes : nullptr;
        t.channels = s.C - b * kLanes;
        t.sums = moments ? sums.data() + int64_t{b} * 2 * kLanes : nullptr;
        t.pivot = moments ? pivot.data() + b * kLanes : nullptr;
        for_each_part(Q, functions ? kForwardPixels : 1, [&](int q, int count) {
          ForwardTile part = t;
          for (int r = 0; r < t.lines; ++r)
            part.x[static_cast<size_t>(r)] += b * ring.block_stride() + q * s.stride * kLanes;
          part.y = y + at + int64_t{q} * s.C;
          part.residual = e.residual ? e.residual + at + int64_t{q} * s.C : nullptr;
          functions ? functions[count](part) : forward_any(part);
        });
      }
      if (moments && (row % P == P - 1 || row + 1 == last))
        move_sums(sums, totals.data() + sum_floats * thread);
    }
  }
  if (!moments) return true;
  const double count = static_cast<double>(s.N) * P * Q;
  for (int c = 0; c < s.C; ++c) {
    const double distance = over_threads(totals, sum_floats, 2, 0, c) / count;
    const double square = over_threads(totals, sum_floats, 2, 1, c) / count;
    moments[c] = static_cast<float>(pivot[static_cast<size_t>(c)] + distance);
    moments[s.C + c] = static_cast<float>(std::max(0.0, square - distance * distance));
  }
  return true;
}

bool normed_depthwise_backward(const ConvShape& s, const float* x, const InputNorm& norm, const float* w,
                               const OutputGradient<>& dy, const NormedGradients<>& out) {
  if (s.R > kMostLines) return false;
  const int P = s.P(), Q = s.Q(), blocks = blocks_of(s.C), threads = omp_get_max_threads();
  const bool normed = norm.factor, needs_input = normed || out.dw;
  // Padded columns 0 .. columns - 1 hold the image at pad.left; the special tiles take pairs of them.
  const bool tiled_1 = s.S == 3 && s.stride == 1, tiled_2 = s.S == 3 && s.stride == 2;
  const int columns = s.pad.left + s.W, pairs = (columns + 1) / 2;
  const int gradient_before = s.S, gradient_after = std::max(0, (columns - 1) / s.stride + 1 - Q) + 1;
  const InputLines input(s, x, norm);
  const GradientLines gradient(s, dy);
  const std::vector<float> filters = in_blocks(w, s.R * s.S, s.C);
  const std::vector<float> mean = in_blocks(norm.mean, 1, s.C);
  const size_t filter_floats = filters.size(), sum_floats = static_cast<size_t>(2) * blocks * kLanes;
  std::vector<double> dw_totals(filter_floats * threads), totals(sum_floats * threads);
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num(), team = omp_get_num_threads();
    Ring inputs(scratch<InputRing>(Ring::floats(1, blocks, s.pad.left, s.W, 2)), 1, blocks, s.pad.left, s.W,
                2);
    Ring gradients(scratch<GradientRing>(Ring::floats(s.R, blocks, gradient_before, Q, gradient_after)), s.R,
                   blocks, gradient_before, Q, gradient_after);
    std::vector<float> dw(filter_floats), sums(sum_floats);
    const int64_t last = begin_of_share(int64_t{s.N} * s.H, thread + 1, team);
    for (int64_t row = begin_of_share(int64_t{s.N} * s.H, thread, team); row < last; ++row) {
      const int64_t image = row / s.H;
      const int h = static_cast<int>(row % s.H) + s.pad.top;
      BackwardTile t{};
      for (int r = h % s.stride; r < s.R && r <= h; r += s.stride) {
        const int p = (h - r) / s.stride;
        if (p >= P) continue;
        const int64_t line = image * P + p;
        t.dy[static_cast<size_t>(t.lines)] =
            gradients.line(line, [&](float* to) { gradient.make(line, gradients.block_stride(), to); });
        t.r[static_cast<size_t>(t.lines++)] = r;
      }
      const float* z = inputs.line(row, [&](float* to) {
        if (needs_input) input.make(row, inputs.block_stride(), to);
      });
      t.S = s.S;
      t.stride = s.stride;
      t.pixel = s.C;
      t.act = norm.act;
      for (int b = 0; b < blocks; ++b) {
        const int64_t at = row * s.W * s.C + b * kLanes;
        t.w = filters.data() + int64_t{b} * s.R * s.S * kLanes;
        t.dw = dw.data() + int64_t{b} * s.R * s.S * kLanes;
        t.sums = sums.data() + int64_t{b} * 2 * kLanes;
        t.factor = input.factor.data() + b * kLanes;
        t.mean = mean.data() + b * kLanes;
        t.channels = s.C - b * kLanes;
        // The tile whose first pixel is v and meets column `column` of dy with s = 0.
        const auto tile = [&](int v, int column) {
          BackwardTile part = t;
          for (int i = 0; i < t.lines; ++i)
            part.dy[static_cast<size_t>(i)] += b * gradients.block_stride() + column * kLanes;
          part.z = z + b * inputs.block_stride() + v * kLanes;
          part.x = normed ? x + at + int64_t{v} * s.C : nullptr;
          part.dx = out.dx ? out.dx + at + int64_t{v} * s.C : nullptr;
          return part;
        };
        if (tiled_1)
          for_each_part(s.W, kBackwardPixels, [&](int v, int count) {
            kBackward1[static_cast<size_t>(count)](tile(v, v + s.pad.left));
          });
        else if (tiled_2)
          for_each_part(pairs, kBackwardPairs, [&](int j, int count) {
            const int v = 2 * j - s.pad.left;
            BackwardTile part = tile(v, j);
            part.first = std::max(0, -v);
            part.last = std::min(2 * count, s.W - v);
            kBackward2[static_cast<size_t>(count)](part);
          });
        else
          for (int v = 0; v < s.W; ++v) backward_any(tile(v, 0), v + s.pad.left);
      }
      if (row % s.H == s.H - 1 || row + 1 == last) {
        move_sums(dw, dw_totals.data() + filter_floats * thread);
        if (normed) move_sums(sums, totals.data() + sum_floats * thread);
      }
    }
  }
  const int taps = s.R * s.S;
  for (int i = 0; i < taps && out.dw; ++i)
    for (int c = 0; c < s.C; ++c)
      out.dw[int64_t{i} * s.C + c] = static_cast<float>(over_threads(dw_totals, filter_floats, taps, i, c));
  for (int i = 0; i < 2 && normed && out.sums; ++i)
    for (int c = 0; c < s.C; ++c)
      out.sums[i * s.C + c] = static_cast<float>(over_threads(totals, sum_floats, 2, i, c));
  return true;
}

bool depthwise_forward(const ConvShape& s, const float* x, const float* w, const Epilogue& e, float* y) {
  return normed_depthwise_forward(s, x, {}, w, e, y, nullptr);
}
bool depthwise_backward_x(const ConvShape& s, const float* dy, const float* w, float* dx) {
  return normed_depthwise_backward(s, nullptr, {}, w, {.g = dy}, {.dx = dx});
}
bool depthwise_backward_w(const ConvShape& s, const float* x, const float* dy, float* dw) {
  return normed_depthwise_backward(s, x, {}, nullptr, {.g = dy}, {.dw = dw});
}

}  // namespace cpu
}  // namespace espalier::kernels
