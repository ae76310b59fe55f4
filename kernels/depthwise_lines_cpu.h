#pragma once
// What the CPU's depthwise convolution for training reads: lines of an image in working memory, laid out as
// [channel block][pixel][lanes] with zeros around the image.

#include <algorithm>
#include <vector>

#include "kernels/conv2d_tile.h"
#include "kernels/normed_conv.h"
#include "kernels/simd.h"

namespace espalier::kernels::depthwise {

using simd::kLanes;
using simd::load_part;
using simd::store_part;
using simd::Vector;

inline int blocks_of(int channels) { return (channels + kLanes - 1) / kLanes; }

/// `rows` vectors of channels as [block][row][lanes], filled up with zeros.
inline std::vector<float> in_blocks(const float* values, int rows, int channels) {
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

}  // namespace espalier::kernels::depthwise
