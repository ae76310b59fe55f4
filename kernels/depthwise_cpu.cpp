// Depthwise convolution for training. A thread takes its share of the lines; what it reads goes through a
// ring of lines in its second-level cache, laid out as [channel block][pixel][lanes] with zeros around the
// image, so that the inner loops see neither borders nor normalisation nor strides. The backward pass makes
// both gradients from one reading of each line.

#include "kernels/depthwise_cpu.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "kernels/conv2d_tile.h"
#include "kernels/normed_conv_cpu.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"

namespace espalier::kernels {

using simd::kLanes;
using simd::Vector;

namespace {

int blocks_of(int channels) { return (channels + kLanes - 1) / kLanes; }

Vector load_part(const float* p, int n) { return n >= kLanes ? simd::load(p) : simd::load(p, n); }
void store_part(float* p, Vector v, int n) { n >= kLanes ? simd::store(p, v) : simd::store(p, v, n); }

int64_t share(int64_t count, int thread, int threads) { return count * thread / threads; }

/// `rows` vectors of channels as [block][row][lanes], filled up with zeros.
std::vector<float> in_blocks(const float* values, int rows, int channels) {
  const int blocks = blocks_of(channels);
  std::vector<float> v(static_cast<size_t>(blocks) * rows * kLanes);
  for (int b = 0; b < blocks && values; ++b)
    for (int r = 0; r < rows; ++r)
      std::copy_n(values + int64_t{r} * channels + b * kLanes, std::min(kLanes, channels - b * kLanes),
                  v.begin() + (int64_t{b} * rows + r) * kLanes);
  return v;
}

/// Copies one line of an image into blocks, each vector through f(block, vector, vector of second or zero).
/// Four pixels at a time: what f needs of a block is loaded once for them.
template <class Load>
void fill_line(int width, int channels, int64_t block_stride, float* to, const Load& load) {
  const int blocks = blocks_of(channels);
  int v = 0;
  for (; v + 4 <= width; v += 4)
    for (int b = 0; b < blocks; ++b) {
      const auto at = load(b);
      float* out = to + b * block_stride + v * kLanes;
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) simd::store(out + i * kLanes, at(v + i));
    }
  for (; v < width; ++v)
    for (int b = 0; b < blocks; ++b) simd::store(to + b * block_stride + v * kLanes, load(b)(v));
}

/// Lines of an image in working memory. A line is made when it is first asked for.
class Ring {
 public:
  /// Lines of `width` pixels with `before` zeros in front and `after` behind.
  Ring(float* memory, int lines, int blocks, int before, int width, int after)
      : memory_(memory),
        before_(before),
        pixels_(before + width + after),
        line_(int64_t{blocks} * pixels_ * kLanes),
        have_(static_cast<size_t>(lines), -1) {
    std::fill_n(memory_, line_ * lines, 0.0f);
  }
  static size_t floats(int lines, int blocks, int before, int width, int after) {
    return static_cast<size_t>(lines) * blocks * (before + width + after) * kLanes;
  }

  int64_t block_stride() const { return int64_t{pixels_} * kLanes; }

  /// The line's first pixel, before which `before` zeros lie; make(first pixel) fills it when it is new.
  template <class Make>
  const float* line(int64_t id, const Make& make) {
    const size_t slot = static_cast<size_t>(id % static_cast<int64_t>(have_.size()));
    float* at = memory_ + static_cast<int64_t>(slot) * line_ + before_ * kLanes;
    if (have_[slot] != id) {
      make(at);
      have_[slot] = id;
    }
    return at;
  }

 private:
  float* memory_;
  int before_, pixels_;
  int64_t line_;
  std::vector<int64_t> have_;
};

constexpr int kMostLines = 8;  ///< of a filter: a tile has a pointer for each

/// Some neighbouring pixels of an output line, one block of channels.
struct ForwardTile {
  std::array<const float*, kMostLines> x;  ///< the lines under the filter, at the tile's first column
  const float *w, *bias, *residual;        ///< w [R*S][lanes] of the first of the lines
  const float* pivot;                      ///< whole vectors
  float *y, *sums;                         ///< sums [2][lanes] of y - pivot and of its square, or null
  int lines, S, stride, channels;
  int64_t pixel;  ///< of y and residual
  Activation act;
};

template <int QT>
void finish_forward(const ForwardTile& t, const Vector (&sum)[QT]) {
  if (t.sums) {
    const Vector pivot = simd::load(t.pivot);
    Vector first = simd::load(t.sums), second = simd::load(t.sums + kLanes);
#pragma GCC unroll 16
    for (int q = 0; q < QT; ++q) {
      const Vector d = simd::subtract(sum[q], pivot);
      first = simd::add(first, d);
      second = simd::fma(d, d, second);
      store_part(t.y + q * t.pixel, sum[q], t.channels);
    }
    simd::store(t.sums, first);
    simd::store(t.sums + kLanes, second);
    return;
  }
  const VectorActivation act(t.act);
  const Vector bias = t.bias ? load_part(t.bias, t.channels) : simd::zero();
#pragma GCC unroll 16
  for (int q = 0; q < QT; ++q) {
    Vector v = simd::add(sum[q], bias);
    if (t.residual) v = simd::add(v, load_part(t.residual + q * t.pixel, t.channels));
    store_part(t.y + q * t.pixel, act(v), t.channels);
  }
}

template <int S, int kStride, int QT>
void forward_tile(const ForwardTile& t) {
  Vector sum[QT];
#pragma GCC unroll 16
  for (int q = 0; q < QT; ++q) sum[q] = simd::zero();
  for (int r = 0; r < t.lines; ++r) {
    Vector filter[S];
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) filter[s] = simd::load(t.w + (r * S + s) * kLanes);
    const float* x = t.x[static_cast<size_t>(r)];
#pragma GCC unroll 32
    for (int i = 0; i < (QT - 1) * kStride + S; ++i) {
      Vector in = simd::load(x + i * kLanes);
      simd::hold(in);
#pragma GCC unroll 16
      for (int q = 0; q < QT; ++q)
        if (const int s = i - q * kStride; s >= 0 && s < S) sum[q] = simd::fma(in, filter[s], sum[q]);
    }
  }
  finish_forward<QT>(t, sum);
}

void forward_any(const ForwardTile& t) {
  Vector sum[1] = {simd::zero()};
  for (int r = 0; r < t.lines; ++r)
    for (int s = 0; s < t.S; ++s)
      sum[0] = simd::fma(simd::load(t.x[static_cast<size_t>(r)] + s * kLanes),
                         simd::load(t.w + (r * t.S + s) * kLanes), sum[0]);
  finish_forward<1>(t, sum);
}

/// A block of channels and some neighbouring input pixels of one line, whose gradients the lines of dy make.
struct BackwardTile {
  std::array<const float*, kMostLines>
      dy;                         ///< at the first column that s = 0 meets at the tile's first pixel
  std::array<int, kMostLines> r;  ///< the filter's line that meets it
  const float *w, *z, *x;         ///< w [R*S][lanes]; x null without a norm
  const float *factor, *mean;
  float *dx, *dw, *sums;  ///< dw [R*S][lanes], added to; dx may be null
  int lines, S, stride, channels;
  int first, last;  ///< the pixels of the tile that exist, counted from z
  int64_t pixel;    ///< of x and dx
  Activation act;
};

template <int VT>
void finish_backward(const BackwardTile& t, const Vector (&dz)[VT], bool whole) {
  if (!t.dx) return;
  const int first = whole ? 0 : t.first, last = whole ? VT : t.last;
  if (!t.x) {
#pragma GCC unroll 16
    for (int v = 0; v < VT; ++v)
      if (v >= first && v < last) store_part(t.dx + v * t.pixel, dz[v], t.channels);
    return;
  }
  const Vector slope = simd::broadcast(t.act.slope), cap = simd::broadcast(t.act.cap);
  const Vector factor = simd::load(t.factor), mean = simd::load(t.mean);
  Vector sum = simd::load(t.sums), product = simd::load(t.sums + kLanes);
#pragma GCC unroll 16
  for (int v = 0; v < VT; ++v) {
    if (v < first || v >= last) continue;
    const Vector z = simd::load(t.z + v * kLanes), x = load_part(t.x + v * t.pixel, t.channels);
    Vector g = simd::if_greater(z, simd::zero(), dz[v], simd::multiply(slope, dz[v]));
    g = simd::if_greater(cap, z, g, simd::zero());
    sum = simd::add(sum, g);
    product = simd::fma(g, simd::subtract(x, mean), product);
    store_part(t.dx + v * t.pixel, simd::multiply(g, factor), t.channels);
  }
  simd::store(t.sums, sum);
  simd::store(t.sums + kLanes, product);
}

/// Stride 1, filters of 3 columns: dy column v - s meets pixel v.
template <int VT>
void backward_tile_1(const BackwardTile& t) {
  constexpr int S = 3;
  Vector dz[VT], z[VT];
#pragma GCC unroll 16
  for (int v = 0; v < VT; ++v) {
    dz[v] = simd::zero();
    z[v] = simd::load(t.z + v * kLanes);
    simd::hold(z[v]);
  }
  for (int i = 0; i < t.lines; ++i) {
    const int at = t.r[static_cast<size_t>(i)] * S * kLanes;
    Vector filter[S], total[S];
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) {
      filter[s] = simd::load(t.w + at + s * kLanes);
      total[s] = simd::load(t.dw + at + s * kLanes);
    }
    const float* dy = t.dy[static_cast<size_t>(i)];
#pragma GCC unroll 32
    for (int q = 1 - S; q < VT; ++q) {
      Vector g = simd::load(dy + q * kLanes);
      simd::hold(g);
#pragma GCC unroll 16
      for (int s = 0; s < S; ++s)
        if (const int v = q + s; v >= 0 && v < VT) {
          dz[v] = simd::fma(g, filter[s], dz[v]);
          total[s] = simd::fma(g, z[v], total[s]);
        }
    }
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) simd::store(t.dw + at + s * kLanes, total[s]);
  }
  finish_backward<VT>(t, dz, true);
}

/// Stride 2, filters of 3 columns: dy column j meets pixel 2j with s = 0, 2j + 1 with s = 1 and 2j + 2 with
/// s = 2. The tile is JT pairs of pixels, the first at an even padded column.
template <int JT>
void backward_tile_2(const BackwardTile& t) {
  constexpr int S = 3, VT = 2 * JT;
  Vector dz[VT];
#pragma GCC unroll 16
  for (int v = 0; v < VT; ++v) dz[v] = simd::zero();
  for (int i = 0; i < t.lines; ++i) {
    const int at = t.r[static_cast<size_t>(i)] * S * kLanes;
    Vector filter[S], total[S];
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) {
      filter[s] = simd::load(t.w + at + s * kLanes);
      total[s] = simd::load(t.dw + at + s * kLanes);
    }
    const float* dy = t.dy[static_cast<size_t>(i)];
    Vector before = simd::load(dy - kLanes);
#pragma GCC unroll 16
    for (int j = 0; j < JT; ++j) {
      Vector g = simd::load(dy + j * kLanes);
      simd::hold(g);
      Vector even = simd::load(t.z + 2 * j * kLanes);
      simd::hold(even);
      const Vector odd = simd::load(t.z + (2 * j + 1) * kLanes);
      dz[2 * j] = simd::fma(before, filter[2], simd::fma(g, filter[0], dz[2 * j]));
      dz[2 * j + 1] = simd::fma(g, filter[1], dz[2 * j + 1]);
      total[0] = simd::fma(g, even, total[0]);
      total[1] = simd::fma(g, odd, total[1]);
      total[2] = simd::fma(before, even, total[2]);
      before = g;
    }
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) simd::store(t.dw + at + s * kLanes, total[s]);
  }
  finish_backward<VT>(t, dz, t.first == 0 && t.last >= VT);
}

/// One pixel, any filter and stride; `column` is its padded column.
void backward_any(const BackwardTile& t, int column) {
  Vector dz[1] = {simd::zero()};
  const Vector z = simd::load(t.z);
  for (int i = 0; i < t.lines; ++i)
    for (int s = column % t.stride; s < t.S; s += t.stride) {
      const int at = (t.r[static_cast<size_t>(i)] * t.S + s) * kLanes;
      const Vector g = simd::load(t.dy[static_cast<size_t>(i)] + (column - s) / t.stride * kLanes);
      dz[0] = simd::fma(g, simd::load(t.w + at), dz[0]);
      simd::store(t.dw + at, simd::fma(g, z, simd::load(t.dw + at)));
    }
  finish_backward<1>(t, dz, true);
}

using ForwardFunction = void (*)(const ForwardTile&);
using BackwardFunction = void (*)(const BackwardTile&);
constexpr int kForwardPixels = simd::kRegisters >= 32 ? 8 : 4;
constexpr int kBackwardPixels = 7, kBackwardPairs = 4;

template <int S, int kStride, int... Q>
constexpr auto forward_row(std::integer_sequence<int, Q...>) {
  return std::array<ForwardFunction, sizeof...(Q) + 1>{nullptr, forward_tile<S, kStride, Q + 1>...};
}
template <int... V>
constexpr auto backward_row_1(std::integer_sequence<int, V...>) {
  return std::array<BackwardFunction, sizeof...(V) + 1>{nullptr, backward_tile_1<V + 1>...};
}
template <int... J>
constexpr auto backward_row_2(std::integer_sequence<int, J...>) {
  return std::array<BackwardFunction, sizeof...(J) + 1>{nullptr, backward_tile_2<J + 1>...};
}

constexpr std::make_integer_sequence<int, kForwardPixels> kForwardCounts;
constexpr auto kForward31 = forward_row<3, 1>(kForwardCounts), kForward32 = forward_row<3, 2>(kForwardCounts),
               kForward51 = forward_row<5, 1>(kForwardCounts), kForward52 = forward_row<5, 2>(kForwardCounts);
constexpr auto kBackward1 = backward_row_1(std::make_integer_sequence<int, kBackwardPixels>());
constexpr auto kBackward2 = backward_row_2(std::make_integer_sequence<int, kBackwardPairs>());

const ForwardFunction* forward_functions(int S, int stride) {
  if (S == 3) return stride == 1 ? kForward31.data() : stride == 2 ? kForward32.data() : nullptr;
  if (S == 5) return stride == 1 ? kForward51.data() : stride == 2 ? kForward52.data() : nullptr;
  return nullptr;
}

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

/// Lines of z into a ring: normalised and activated, or as they are.
struct InputLines {
  const ConvShape& s;
  const float* x;
  const InputNorm& norm;
  std::vector<float> factor, offset;

  InputLines(const ConvShape& shape, const float* x, const InputNorm& norm)
      : s(shape),
        x(x),
        norm(norm),
        factor(in_blocks(norm.factor, 1, s.C)),
        offset(in_blocks(norm.offset, 1, s.C)) {}

  void make(int64_t line, int64_t block_stride, float* to) const {
    const float* from = x + line * s.W * s.C;
    if (!norm.factor) {
      fill_line(s.W, s.C, block_stride, to, [&](int b) {
        return [at = from + b * kLanes, n = s.C - b * kLanes, C = s.C](int v) {
          return load_part(at + int64_t{v} * C, n);
        };
      });
      return;
    }
    const VectorActivation act(norm.act);
    fill_line(s.W, s.C, block_stride, to, [&](int b) {
      return [at = from + b * kLanes, n = s.C - b * kLanes, C = s.C, &act,
              f = simd::load(factor.data() + b * kLanes), o = simd::load(offset.data() + b * kLanes)](int v) {
        return act(simd::fma(f, load_part(at + int64_t{v} * C, n), o));
      };
    });
  }
};

/// Lines of the whole gradient of y.
struct GradientLines {
  const ConvShape& s;
  const OutputGradient<>& dy;
  std::vector<float> constant, slope, mean;

  GradientLines(const ConvShape& shape, const OutputGradient<>& dy)
      : s(shape),
        dy(dy),
        constant(in_blocks(dy.constant, 1, s.C)),
        slope(in_blocks(dy.slope, 1, s.C)),
        mean(in_blocks(dy.mean, 1, s.C)) {}

  void make(int64_t line, int64_t block_stride, float* to) const {
    const int64_t first = line * s.Q() * s.C;
    if (!dy.slope) {
      fill_line(s.Q(), s.C, block_stride, to, [&](int b) {
        return [at = dy.g + first + b * kLanes, n = s.C - b * kLanes, C = s.C](int q) {
          return load_part(at + int64_t{q} * C, n);
        };
      });
      return;
    }
    fill_line(s.Q(), s.C, block_stride, to, [&](int b) {
      return [g = dy.g + first + b * kLanes, y = dy.y + first + b * kLanes, n = s.C - b * kLanes, C = s.C,
              c = simd::load(constant.data() + b * kLanes), m = simd::load(slope.data() + b * kLanes),
              middle = simd::load(mean.data() + b * kLanes)](int q) {
        const Vector distance = simd::subtract(load_part(y + int64_t{q} * C, n), middle);
        return simd::add(load_part(g + int64_t{q} * C, n), simd::fma(m, distance, c));
      };
    });
  }
};

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
    const int64_t last = share(int64_t{s.N} * P, thread + 1, team);
    for (int64_t row = share(int64_t{s.N} * P, thread, team); row < last; ++row) {
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
    const int64_t last = share(int64_t{s.N} * s.H, thread + 1, team);
    for (int64_t row = share(int64_t{s.N} * s.H, thread, team); row < last; ++row) {
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
