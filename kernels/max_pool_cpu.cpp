#include "kernels/max_pool_cpu.h"

#include <algorithm>
#include <cstring>

namespace espalier::kernels::cpu {

namespace {

/// The taps of a window that lie in the image, and where the first of them is.
struct Window {
  int first_r, last_r, first_t, last_t;
  int h, v;  ///< of the tap (0, 0), which may lie outside

  Window(const ConvShape& s, int p, int q) {
    h = p * s.stride - s.pad.top;
    v = q * s.stride - s.pad.left;
    first_r = std::max(0, -h), last_r = std::min(s.R, s.H - h);
    first_t = std::max(0, -v), last_t = std::min(s.S, s.W - v);
  }
};

}  // namespace

bool max_pool_forward(const ConvShape& s, const float* x, float* y) {
  const int P = s.P(), Q = s.Q(), C = s.C, lines = s.N * P;
#pragma omp parallel for schedule(static)
  for (int line = 0; line < lines; ++line) {
    const float* image = x + int64_t{line / P} * s.H * s.W * C;
    float* out = y + int64_t{line} * Q * C;
    for (int q = 0; q < Q; ++q, out += C) {
      const Window w(s, line % P, q);
      std::memcpy(out, image + (int64_t{w.h + w.first_r} * s.W + w.v + w.first_t) * C, sizeof(float) * C);
      for (int r = w.first_r; r < w.last_r; ++r)
        for (int t = w.first_t; t < w.last_t; ++t) {
          const float* in = image + (int64_t{w.h + r} * s.W + w.v + t) * C;
#pragma omp simd
          for (int c = 0; c < C; ++c) out[c] = !(in[c] <= out[c]) ? in[c] : out[c];  // NaN wins
        }
    }
  }
  return true;
}

bool max_pool_backward(const ConvShape& s, const float* x, const float* dy, float* dx) {
  if (s.R > s.stride || s.S > s.stride) return false;
  const int P = s.P(), Q = s.Q(), C = s.C, lines = s.N * P;
  // Every line of windows owns the `stride` lines of the image that begin with its own; the first and the
  // last own what lies outside too.
#pragma omp parallel for schedule(static)
  for (int line = 0; line < lines; ++line) {
    const int p = line % P;
    const int64_t offset = int64_t{line / P} * s.H * s.W * C;
    const float *image = x + offset, *g = dy + int64_t{line} * Q * C;
    float* out = dx + offset;
    const int first_h = p == 0 ? 0 : p * s.stride - s.pad.top;
    const int last_h = p == P - 1 ? s.H : std::min(s.H, (p + 1) * s.stride - s.pad.top);
    if (last_h > first_h)
      std::memset(out + int64_t{first_h} * s.W * C, 0, sizeof(float) * (last_h - first_h) * s.W * C);
    constexpr int kBlock = 64;
    for (int q = 0; q < Q; ++q, g += C) {
      const Window w(s, p, q);
      for (int c0 = 0; c0 < C; c0 += kBlock) {
        const int n = std::min(kBlock, C - c0);
        float best[kBlock];
        int winner[kBlock];
        const auto at = [&](int r, int t) { return (int64_t{w.h + r} * s.W + w.v + t) * C + c0; };
        std::memcpy(best, image + at(w.first_r, w.first_t), sizeof(float) * n);
        std::fill_n(winner, n, w.first_r * s.S + w.first_t);
        for (int r = w.first_r; r < w.last_r; ++r)
          for (int t = w.first_t; t < w.last_t; ++t) {
            const float* in = image + at(r, t);
            const int tap = r * s.S + t;
            const bool first = r == w.first_r && t == w.first_t;
            if (first) continue;
#pragma omp simd
            for (int c = 0; c < n; ++c) {
              const bool wins = !(in[c] <= best[c]);
              best[c] = wins ? in[c] : best[c];
              winner[c] = wins ? tap : winner[c];
            }
          }
        for (int r = w.first_r; r < w.last_r; ++r)
          for (int t = w.first_t; t < w.last_t; ++t) {
            float* to = out + at(r, t);
            const int tap = r * s.S + t;
#pragma omp simd
            for (int c = 0; c < n; ++c) to[c] = winner[c] == tap ? g[c0 + c] : 0.0f;
          }
      }
    }
  }
  return true;
}

}  // namespace espalier::kernels::cpu
