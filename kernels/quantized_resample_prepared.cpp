// Pooling and resizing of codes by a team; the compiler vectorises the channels.

#include <algorithm>
#include <cstring>

#include "kernels/quantized_prepared.h"
#include "kernels/resize_source.h"
#include "kernels/scratch.h"

namespace espalier::kernels {

namespace {

template <class T>
void pool(const ConvShape& s, const T* x, T* y, const Team& team) {
  const int P = s.P(), Q = s.Q(), C = s.C;
  const Share share(s.N * P, team.thread, team.threads);
  for (int line = share.first; line < share.last; ++line) {
    const int top = line % P * s.stride - s.pad.top;
    const int first_r = std::max(0, -top), last_r = std::min(s.R, s.H - top);
    const T* image = x + int64_t{line / P} * s.H * s.W * C;
    T* out = y + int64_t{line} * Q * C;
    for (int q = 0; q < Q; ++q, out += C) {
      const int left = q * s.stride - s.pad.left;
      const int first_t = std::max(0, -left), last_t = std::min(s.S, s.W - left);
      const T* corner = image + (int64_t{top + first_r} * s.W + left + first_t) * C;
      std::memcpy(out, corner, static_cast<size_t>(C));
      for (int r = first_r; r < last_r; ++r)
        for (int t = first_t; t < last_t; ++t) {
          const T* in = image + (int64_t{top + r} * s.W + left + t) * C;
          for (int c = 0; c < C; ++c) out[c] = in[c] > out[c] ? in[c] : out[c];
        }
    }
  }
}

template <class T>
void resize_nearest(const ResizeShape& s, const T* x, T* y, const Team& team) {
  const int C = s.C;
  const Share share(s.N * s.P, team.thread, team.threads);
  for (int line = share.first; line < share.last; ++line) {
    const int h = source(s.sampling, line % s.P, s.H, s.P).low;
    const T* from = x + (int64_t{line / s.P} * s.H + h) * s.W * C;
    T* out = y + int64_t{line} * s.Q * C;
    for (int q = 0; q < s.Q; ++q, out += C)
      std::memcpy(out, from + int64_t{source(s.sampling, q, s.W, s.Q).low} * C, static_cast<size_t>(C));
  }
}

/// A stripe of neighbouring columns of one image. Lines are mixed along the width once and kept, since
/// several lines of outputs read them; the roundings are those of mix_codes().
template <class T>
class Stripe {
 public:
  /// `kept` has room for 2 x columns x C floats.
  Stripe(const ResizeShape& s, int first_column, int columns, float* kept)
      : s_(s), first_(first_column), columns_(columns), kept_{kept, kept + int64_t{columns} * s.C} {}

  void write(const T* image, int n, int p, T* out) {
    const Source h = source(s_.sampling, p, s_.H, s_.P);
    const float *top = line(image, n, h.low), *bottom = line(image, n, h.high);
    const int count = columns_ * s_.C;
    for (int i = 0; i < count; ++i)
      out[i] = static_cast<T>(static_cast<int>(rintf(fmaf(h.f, bottom[i] - top[i], top[i]))));
  }

 private:
  /// Input line h, mixed along the width. The two that an output reads are neighbours: one is even, one odd.
  const float* line(const T* image, int n, int h) {
    float* to = kept_[h % 2];
    if (n == image_ && held_[h % 2] == h) return to;
    if (n != image_) image_ = n, held_[0] = held_[1] = -1;
    held_[h % 2] = h;
    const int C = s_.C;
    const T* from = image + int64_t{h} * s_.W * C;
    float* out = to;
    for (int q = first_; q < first_ + columns_; ++q, out += C) {
      const Source v = source(s_.sampling, q, s_.W, s_.Q);
      const T *low = from + int64_t{v.low} * C, *high = from + int64_t{v.high} * C;
      for (int c = 0; c < C; ++c) {
        const auto a = static_cast<float>(low[c]);
        out[c] = fmaf(v.f, static_cast<float>(high[c]) - a, a);
      }
    }
    return to;
  }

  const ResizeShape& s_;
  int first_, columns_;
  float* kept_[2];
  int image_ = -1, held_[2] = {-1, -1};
};

template <class T>
void resize_bilinear(const ResizeShape& s, const T* x, T* y, const Team& team) {
  constexpr int kFloats = 4096;  // of a line that is kept: two fit a first-level cache
  const int most = std::clamp(kFloats / s.C, 1, s.Q);
  struct Tag {};
  float* kept = scratch<Tag>(size_t{2} * static_cast<size_t>(most) * static_cast<size_t>(s.C));
  const Share share(s.N * s.P, team.thread, team.threads);
  for (int first = 0; first < s.Q; first += most) {
    Stripe<T> stripe(s, first, std::min(most, s.Q - first), kept);
    for (int line = share.first; line < share.last; ++line) {
      const int n = line / s.P;
      stripe.write(x + int64_t{n} * s.H * s.W * s.C, n, line % s.P, y + (int64_t{line} * s.Q + first) * s.C);
    }
  }
}

template <class T>
void resize(const ResizeShape& s, const T* x, T* y, const Team& team) {
  if (s.sampling == Sampling::kNearest)
    resize_nearest(s, x, y, team);
  else
    resize_bilinear(s, x, y, team);
}

}  // namespace

void quantized_max_pool_prepared(const ConvShape& s, Code code, const void* x, void* y, const Team& team) {
  if (code == Code::kU8)
    pool(s, static_cast<const uint8_t*>(x), static_cast<uint8_t*>(y), team);
  else
    pool(s, static_cast<const int8_t*>(x), static_cast<int8_t*>(y), team);
}

void quantized_resize_prepared(const ResizeShape& s, Code code, const void* x, void* y, const Team& team) {
  if (code == Code::kU8)
    resize(s, static_cast<const uint8_t*>(x), static_cast<uint8_t*>(y), team);
  else
    resize(s, static_cast<const int8_t*>(x), static_cast<int8_t*>(y), team);
}

}  // namespace espalier::kernels
