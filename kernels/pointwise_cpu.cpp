// Pointwise convolutions, and others whose windows are short enough to be gathered, as products of matrices
// with rows = output pixels. A thread takes its share of the rows in blocks that fit its second-level cache
// and does everything there: normalise the input, multiply, activate, gather moments; in the backward pass
// both gradients, so that every activation comes from memory once.

#include <omp.h>

#include <cstring>
#include <vector>

#include "kernels/normed_conv_cpu.h"
#include "kernels/pointwise_tiles_cpu.h"
#include "kernels/scratch.h"
#include "kernels/team.h"

namespace espalier::kernels {

using namespace pointwise;
using simd::kLanes;
using simd::load_part;
using simd::store_part;
using simd::Vector;

namespace {

int padded(int channels) { return (channels + kLanes - 1) / kLanes * kLanes; }

/// Floats from one row of working memory to the next: neighbouring rows must not fall on the same cache sets.
int row_stride(int channels) {
  const int floats = padded(channels);
  return floats % 128 == 0 ? floats + kLanes : floats;
}

/// Rows that are worked on together: the left operand of both products and the right one of the second stay
/// in a second-level cache.
int block_rows(int floats_a_row) {
  constexpr int kFloats = 64 << 10;
  return std::clamp(kFloats / floats_a_row / 14 * 14, 28, 168);
}

struct Matrices {
  const ConvShape& s;
  bool pointwise;
  int64_t rows;  ///< output pixels
  int depth;     ///< terms of one output: R * S * C

  explicit Matrices(const ConvShape& shape)
      : s(shape),
        pointwise(s.R == 1 && s.S == 1 && s.stride == 1 && s.pad == Padding{}),
        rows(int64_t{s.N} * s.P() * s.Q()),
        depth(s.R * s.S * s.C) {}

  /// Rows [first, first + count) of the left operand as they are, each filled up to whole vectors with zeros.
  void gather(const float* x, int64_t first, int count, float* to, int stride) const {
    if (pointwise) {
      for (int i = 0; i < count; ++i)
        for (int c = 0; c < depth; c += kLanes)
          simd::store(to + i * stride + c, load_part(x + (first + i) * depth + c, depth - c));
      return;
    }
    const int P = s.P(), Q = s.Q();
    for (int i = 0; i < count; ++i) {
      const int64_t row = first + i, image = row / Q / P;
      const int p = static_cast<int>(row / Q % P), q = static_cast<int>(row % Q);
      const int top = p * s.stride - s.pad.top, left = q * s.stride - s.pad.left;
      const int s0 = std::max(0, -left), s1 = std::max(s0, std::min(s.S, s.W - left));
      float* at = to + static_cast<int64_t>(i) * stride;
      std::fill_n(at, padded(depth), 0.0f);
      for (int r = 0; r < s.R; ++r)
        if (const int h = top + r; h >= 0 && h < s.H)
          std::copy_n(x + ((image * s.H + h) * s.W + left + s0) * s.C, (s1 - s0) * s.C,
                      at + (r * s.S + s0) * s.C);
    }
  }

  /// The same, normalised and activated; pointwise only. factor and offset are filled up with zeros.
  void normalise(const float* x, const InputNorm& norm, const float* factor, const float* offset,
                 int64_t first, int count, float* to, int stride) const {
    const VectorActivation act(norm.act);
    for (int c = 0; c < depth; c += kLanes) {
      const Vector f = simd::load(factor + c), o = simd::load(offset + c);
      const float* from = x + first * depth + c;
      if (depth - c >= kLanes)
        for (int i = 0; i < count; ++i)
          simd::store(to + i * stride + c, act(simd::fma(f, simd::load(from + int64_t{i} * depth), o)));
      else
        for (int i = 0; i < count; ++i)
          simd::store(to + i * stride + c,
                      act(simd::fma(f, simd::load(from + int64_t{i} * depth, depth - c), o)));
    }
  }

  /// Rows of the whole gradient of y.
  void complete(const OutputGradient<>& dy, const float* constant, const float* slope, const float* mean,
                int64_t first, int count, float* to, int stride) const {
    const int K = s.K;
    for (int k = 0; k < K; k += kLanes) {
      const Vector a = simd::load(constant + k), b = simd::load(slope + k), middle = simd::load(mean + k);
      const float *g = dy.g + first * K + k, *y = dy.y + first * K + k;
      const int n = K - k;
      for (int i = 0; i < count; ++i)
        simd::store(to + i * stride + k,
                    simd::add(load_part(g + int64_t{i} * K, n),
                              simd::fma(b, simd::subtract(load_part(y + int64_t{i} * K, n), middle), a)));
    }
  }
};

/// w [K,depth] as [ceil(K / lanes)][depth][lanes], by the whole team.
void pack_transposed(const float* w, int K, int depth, float* to) {
#pragma omp for schedule(static)
  for (int block = 0; block < padded(K) / kLanes; ++block) {
    float* at = to + int64_t{block} * depth * kLanes;
    const int n = std::min(kLanes, K - block * kLanes);
    for (int i = 0; i < depth; ++i)
      for (int k = 0; k < kLanes; ++k)
        at[i * kLanes + k] = k < n ? w[(int64_t{block} * kLanes + k) * depth + i] : 0.0f;
  }
}

/// w [K,C] as [ceil(C / lanes)][K][lanes], by the whole team.
void pack_columns(const float* w, int K, int C, float* to) {
#pragma omp for schedule(static)
  for (int block = 0; block < padded(C) / kLanes; ++block)
    for (int k = 0; k < K; ++k)
      simd::store(to + (int64_t{block} * K + k) * kLanes,
                  load_part(w + int64_t{k} * C + block * kLanes, C - block * kLanes));
}

/// A vector of channels, filled up with zeros.
std::vector<float> fill_up(const float* values, int channels) {
  std::vector<float> v(static_cast<size_t>(padded(channels)));
  if (values) std::copy_n(values, channels, v.begin());
  return v;
}

/// Sums of blocks in float, sums of sums in double: the two columns of each thread.
class PairSums {
 public:
  PairSums(int threads, int channels)
      : channels_(padded(channels)), total_(static_cast<size_t>(2 * channels_) * threads) {}

  /// Adds a block's two rows of padded channels and clears them.
  void add(int thread, float* block) {
    double* total = total_.data() + static_cast<size_t>(2 * channels_) * thread;
    for (int c = 0; c < 2 * channels_; ++c) total[c] += block[c];
    std::fill_n(block, 2 * channels_, 0.0f);
  }
  double first(int c) const { return over_threads(c); }
  double second(int c) const { return over_threads(channels_ + c); }

 private:
  double over_threads(int c) const {
    double sum = 0;
    for (size_t i = static_cast<size_t>(c); i < total_.size(); i += static_cast<size_t>(2 * channels_))
      sum += total_[i];
    return sum;
  }
  int channels_;
  std::vector<double> total_;
};

/// Few rows leave threads idle, long windows are oneDNN's.
bool suits(const Matrices& m, const InputNorm& norm) {
  constexpr int kShortWindow = 64;
  return m.rows >= 128 && (m.pointwise || (m.depth <= kShortWindow && !norm.factor));
}

struct Packed;
struct LeftRows;
struct GradientRows;
struct Partial;

}  // namespace

namespace cpu {

bool normed_conv2d_forward(const ConvShape& s, const float* x, const InputNorm& norm, const float* w,
                           const Epilogue& e, float* y, float* moments) {
  const Matrices m(s);
  if (!suits(m, norm)) return false;
  const std::vector<float> factor = fill_up(norm.factor, m.depth), offset = fill_up(norm.offset, m.depth);
  const bool direct = m.pointwise && !norm.factor;
  const int stride = direct ? m.depth : row_stride(m.depth), width = padded(s.K);
  const int block = block_rows(stride + width), threads = omp_get_max_threads();
  float* packed = scratch<Packed>(static_cast<size_t>(width) * m.depth);
  PairSums totals(threads, moments ? s.K : 0);
  std::vector<float> first_row;
#pragma omp parallel num_threads(threads)
  {
    pack_transposed(w, s.K, m.depth, packed);
    const int thread = omp_get_thread_num(), team = omp_get_num_threads();
    float* left = direct ? nullptr : scratch<LeftRows>(static_cast<size_t>(block) * stride);
    std::vector<float> sums(moments ? 2 * static_cast<size_t>(width) : 0);
    const auto left_rows = [&](int64_t first, int count) {
      if (direct) return x + first * m.depth;
      if (norm.factor)
        m.normalise(x, norm, factor.data(), offset.data(), first, count, left, stride);
      else
        m.gather(x, first, count, left, stride);
      return static_cast<const float*>(left);
    };
    // Moments are of the distance to the first row: squares of what lies far from 0 would lose digits.
    std::vector<float> pivot(moments ? static_cast<size_t>(width) : 0);
    if (moments) {
      const float* a = left_rows(0, 1);
      for (int k = 0; k < width; k += kLanes)
        TileTable<ForwardTile>::at(1, 1)({.a = a,
                                          .b = packed + int64_t{k} * m.depth,
                                          .y = pivot.data() + k,
                                          .b_block = int64_t{m.depth} * kLanes,
                                          .depth = m.depth,
                                          .channels = kLanes});
      if (thread == 0) first_row = pivot;
    }
    const int64_t last = begin_of_share(m.rows, thread + 1, team);
    for (int64_t first = begin_of_share(m.rows, thread, team); first < last; first += block) {
      const int count = static_cast<int>(std::min<int64_t>(block, last - first));
      const float* a = left_rows(first, count);
      for (int k = 0; k < s.K;) {
        const int blocks = panel_blocks((width - k) / kLanes);
        for_each_tile_of_rows(count, blocks, [&](int row, int height) {
          const int64_t at = (first + row) * s.K + k;
          TileTable<ForwardTile>::at(height, blocks)({.a = a + int64_t{row} * stride,
                                                      .b = packed + int64_t{k} * m.depth,
                                                      .bias = e.bias ? e.bias + k : nullptr,
                                                      .residual = e.residual ? e.residual + at : nullptr,
                                                      .pivot = moments ? pivot.data() + k : nullptr,
                                                      .y = y + at,
                                                      .sum = moments ? sums.data() + k : nullptr,
                                                      .square = moments ? sums.data() + width + k : nullptr,
                                                      .a_row = stride,
                                                      .b_block = int64_t{m.depth} * kLanes,
                                                      .y_row = s.K,
                                                      .depth = m.depth,
                                                      .channels = s.K - k,
                                                      .act = e.act});
        });
        k += blocks * kLanes;
      }
      if (moments) totals.add(thread, sums.data());
    }
  }
  if (moments)
    for (int k = 0; k < s.K; ++k) {
      const double distance = totals.first(k) / static_cast<double>(m.rows);
      const double square = totals.second(k) / static_cast<double>(m.rows);
      moments[k] = static_cast<float>(first_row[static_cast<size_t>(k)] + distance);
      moments[s.K + k] = static_cast<float>(std::max(0.0, square - distance * distance));
    }
  return true;
}

bool normed_conv2d_backward(const ConvShape& s, const float* x, const InputNorm& norm, const float* w,
                            const OutputGradient<>& dy, const NormedGradients<>& out) {
  const Matrices m(s);
  if (!suits(m, norm) || (out.dx && !m.pointwise)) return false;
  const bool normed = norm.factor, completed = dy.slope;
  const std::vector<float> factor = fill_up(norm.factor, m.depth), offset = fill_up(norm.offset, m.depth);
  const std::vector<float> mean = fill_up(norm.mean, m.depth);
  const std::vector<float> constant = fill_up(dy.constant, s.K), slope = fill_up(dy.slope, s.K),
                           center = fill_up(dy.mean, s.K);
  const int width = padded(m.depth), threads = omp_get_max_threads();
  const bool needs_left = normed || out.dw, direct_left = m.pointwise && !normed && width == m.depth;
  const int left_stride = direct_left ? m.depth : row_stride(m.depth);
  const int right_stride = completed ? row_stride(s.K) : s.K;
  const int block = block_rows(left_stride + right_stride);
  const size_t filters = static_cast<size_t>(s.K) * width;
  float* packed = out.dx ? scratch<Packed>(filters) : nullptr;
  float* partial = out.dw ? scratch<Partial>(filters * threads) : nullptr;
  PairSums totals(threads, normed ? s.C : 0);
#pragma omp parallel num_threads(threads)
  {
    if (out.dx) pack_columns(w, s.K, s.C, packed);
    const int thread = omp_get_thread_num(), team = omp_get_num_threads();
    float* own = out.dw ? partial + filters * thread : nullptr;
    if (own) std::fill_n(own, filters, 0.0f);
    float* left_rows = direct_left ? nullptr : scratch<LeftRows>(static_cast<size_t>(block) * left_stride);
    float* right_rows =
        completed ? scratch<GradientRows>(static_cast<size_t>(block) * right_stride) : nullptr;
    std::vector<float> sums(normed ? 2 * static_cast<size_t>(width) : 0);
    const int64_t last = begin_of_share(m.rows, thread + 1, team);
    for (int64_t first = begin_of_share(m.rows, thread, team); first < last; first += block) {
      const int count = static_cast<int>(std::min<int64_t>(block, last - first));
      if (completed)
        m.complete(dy, constant.data(), slope.data(), center.data(), first, count, right_rows, right_stride);
      const float* g = completed ? right_rows : dy.g + first * s.K;
      if (normed)
        m.normalise(x, norm, factor.data(), offset.data(), first, count, left_rows, left_stride);
      else if (needs_left && !direct_left)
        m.gather(x, first, count, left_rows, left_stride);
      const float* left = direct_left ? x + first * m.depth : left_rows;
      for (int c = 0; c < m.depth;) {
        const int blocks = panel_blocks((width - c) / kLanes);
        if (out.dx)
          for_each_tile_of_rows(count, blocks, [&](int row, int height) {
            const int64_t at = (first + row) * s.C + c;
            TileTable<BackwardXTile>::at(
                height, blocks)({.a = g + int64_t{row} * right_stride,
                                 .b = packed + int64_t{c} * s.K,
                                 .z = normed ? left + int64_t{row} * left_stride + c : nullptr,
                                 .x = x + at,
                                 .factor = factor.data() + c,
                                 .mean = mean.data() + c,
                                 .dx = out.dx + at,
                                 .sum = sums.data() + c,
                                 .product = sums.data() + width + c,
                                 .a_row = right_stride,
                                 .b_block = int64_t{s.K} * kLanes,
                                 .z_row = left_stride,
                                 .x_row = s.C,
                                 .depth = s.K,
                                 .channels = s.C - c,
                                 .act = norm.act});
          });
        if (own)
          for_each_tile_of_rows(s.K, blocks, [&](int k, int height) {
            TileTable<BackwardWTile>::at(height, blocks)({.a = g + k,
                                                          .b = left + c,
                                                          .dw = own + int64_t{k} * width + c,
                                                          .a_step = right_stride,
                                                          .b_step = left_stride,
                                                          .dw_row = width,
                                                          .depth = count});
          });
        c += blocks * kLanes;
      }
      if (normed) totals.add(thread, sums.data());
    }
    if (out.dw) {
#pragma omp barrier
#pragma omp for schedule(static)
      for (int k = 0; k < s.K; ++k) {
        const float* from = partial + int64_t{k} * width;
        for (int c = 0; c < m.depth; c += kLanes) {
          Vector sum = simd::load(from + c);
          for (int t = 1; t < team; ++t) sum = simd::add(sum, simd::load(from + filters * t + c));
          store_part(out.dw + int64_t{k} * m.depth + c, sum, m.depth - c);
        }
      }
    }
  }
  if (normed && out.sums)
    for (int c = 0; c < s.C; ++c) {
      out.sums[c] = static_cast<float>(totals.first(c));
      out.sums[s.C + c] = static_cast<float>(totals.second(c));
    }
  return true;
}

}  // namespace cpu
}  // namespace espalier::kernels
