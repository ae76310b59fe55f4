#include "kernels/resize_cpu.h"

#include <cstring>
#include <vector>

#include "kernels/resize_source.h"

namespace espalier::kernels::cpu {

namespace {

std::vector<Source> sources(Sampling sampling, int in, int out) {
  std::vector<Source> all;
  for (int i = 0; i < out; ++i) all.push_back(source(sampling, i, in, out));
  return all;
}

/// to += weight * from
void add_into(float* to, const float* from, float weight, int n) {
#pragma omp simd
  for (int c = 0; c < n; ++c) to[c] += weight * from[c];
}

}  // namespace

void resize_forward(const ResizeShape& s, const float* x, float* y) {
  const std::vector<Source> down = sources(s.sampling, s.H, s.P), across = sources(s.sampling, s.W, s.Q);
  const int lines = s.N * s.P, C = s.C;
#pragma omp parallel for schedule(static)
  for (int line = 0; line < lines; ++line) {
    const Source h = down[line % s.P];
    const float* image = x + int64_t{line / s.P} * s.H * s.W * C;
    const float *upper = image + int64_t{h.low} * s.W * C, *lower = image + int64_t{h.high} * s.W * C;
    float* out = y + int64_t{line} * s.Q * C;
    for (int q = 0; q < s.Q; ++q, out += C) {
      const Source v = across[q];
      const float *a = upper + int64_t{v.low} * C, *b = upper + int64_t{v.high} * C;
      if (s.sampling == Sampling::kNearest) {
        std::memcpy(out, a, sizeof(float) * C);
        continue;
      }
      const float *d = lower + int64_t{v.low} * C, *e = lower + int64_t{v.high} * C;
#pragma omp simd
      for (int c = 0; c < C; ++c) {
        const float top = a[c] + v.f * (b[c] - a[c]), bottom = d[c] + v.f * (e[c] - d[c]);
        out[c] = top + h.f * (bottom - top);
      }
    }
  }
}

void resize_backward(const ResizeShape& s, const float* dy, float* dx) {
  const std::vector<Source> down = sources(s.sampling, s.H, s.P), across = sources(s.sampling, s.W, s.Q);
  const int lines = s.N * s.H, C = s.C;
  // A thread owns lines of the input and gathers from the output lines that read them.
#pragma omp parallel for schedule(static)
  for (int line = 0; line < lines; ++line) {
    const int h = line % s.H;
    const float* image = dy + int64_t{line / s.H} * s.P * s.Q * C;
    float* out = dx + int64_t{line} * s.W * C;
    std::memset(out, 0, sizeof(float) * s.W * C);
    int first, last;
    readers(s.sampling, h, s.H, s.P, &first, &last);
    for (int p = first; p < last; ++p) {
      const float w = weight(down[p], h);
      if (w == 0) continue;
      const float* g = image + int64_t{p} * s.Q * C;
      for (int q = 0; q < s.Q; ++q, g += C) {
        const Source v = across[q];
        add_into(out + int64_t{v.low} * C, g, w * (1.0f - v.f), C);
        if (v.f != 0) add_into(out + int64_t{v.high} * C, g, w * v.f, C);
      }
    }
  }
}

}  // namespace espalier::kernels::cpu
