// Pooling and resizing of codes by a team, one output line at a time; the compiler vectorises the channels.

#include <algorithm>
#include <cstring>

#include "kernels/quantized_prepared.h"
#include "kernels/resize_source.h"

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
void resize(const ResizeShape& s, const T* x, T* y, const Team& team) {
  const int C = s.C;
  const Share share(s.N * s.P, team.thread, team.threads);
  for (int line = share.first; line < share.last; ++line) {
    const Source h = source(s.sampling, line % s.P, s.H, s.P);
    const T* image = x + int64_t{line / s.P} * s.H * s.W * C;
    const T *upper = image + int64_t{h.low} * s.W * C, *lower = image + int64_t{h.high} * s.W * C;
    T* out = y + int64_t{line} * s.Q * C;
    for (int q = 0; q < s.Q; ++q, out += C) {
      const Source v = source(s.sampling, q, s.W, s.Q);
      const int64_t low = int64_t{v.low} * C, high = int64_t{v.high} * C;
      if (s.sampling == Sampling::kNearest) {
        std::memcpy(out, upper + low, static_cast<size_t>(C));
        continue;
      }
      for (int c = 0; c < C; ++c)
        out[c] = static_cast<T>(static_cast<int>(
            rintf(mix_codes(upper[low + c], upper[high + c], lower[low + c], lower[high + c], v.f, h.f))));
    }
  }
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
