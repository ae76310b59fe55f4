#include "kernels/resize.h"

#include <type_traits>

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/pixel_maps_cuda.h"
#include "kernels/resize_cpu.h"
#include "kernels/resize_source.h"

namespace espalier::kernels {

namespace {

/// One row is one output pixel.
template <class T>
struct Forward {
  ResizeShape s;
  const T* x;
  T* y;
  template <int kTile>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const Source h = source(s.sampling, static_cast<int>(row / s.Q % s.P), s.H, s.P);
    const Source v = source(s.sampling, static_cast<int>(row % s.Q), s.W, s.Q);
    const T* image = x + row / s.Q / s.P * s.H * s.W * s.C + c0;
    const T* a = image + (int64_t{h.low} * s.W + v.low) * s.C;
    T* out = y + row * s.C + c0;
    if (s.sampling == Sampling::kNearest) {
      for (int c = 0; c < n; ++c) out[c] = a[c];
      return;
    }
    const T* b = image + (int64_t{h.low} * s.W + v.high) * s.C;
    const T* d = image + (int64_t{h.high} * s.W + v.low) * s.C;
    const T* e = image + (int64_t{h.high} * s.W + v.high) * s.C;
    for (int c = 0; c < n; ++c) {
      const float top = a[c] + v.f * (b[c] - a[c]), bottom = d[c] + v.f * (e[c] - d[c]);
      out[c] = top + h.f * (bottom - top);
    }
  }
};

/// One row is one input pixel.
template <class T>
struct Backward {
  ResizeShape s;
  const T* dy;
  T* dx;
  template <int kTile>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const int v = static_cast<int>(row % s.W), h = static_cast<int>(row / s.W % s.H);
    const T* image = dy + row / s.W / s.H * s.P * s.Q * s.C + c0;
    int p0, p1, q0, q1;
    readers(s.sampling, h, s.H, s.P, &p0, &p1);
    readers(s.sampling, v, s.W, s.Q, &q0, &q1);
    float sum[kTile] = {};
    for (int p = p0; p < p1; ++p) {
      const float wp = weight(source(s.sampling, p, s.H, s.P), h);
      if (wp == 0) continue;
      for (int q = q0; q < q1; ++q) {
        const float w = wp * weight(source(s.sampling, q, s.W, s.Q), v);
        if (w == 0) continue;
        const T* g = image + (int64_t{p} * s.Q + q) * s.C;
        for (int c = 0; c < n; ++c) sum[c] += w * g[c];
      }
    }
    for (int c = 0; c < n; ++c) dx[row * s.C + c0 + c] = sum[c];
  }
};

}  // namespace

template <class T>
void resize_forward(Device device, const ResizeShape& s, const T* x, T* y) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device)) return cpu::resize_forward(s, x, y);
  if (fast_on_cuda(device) && cuda::resize_forward(s, x, y)) return;
  for_each_tile(device, int64_t{s.N} * s.P * s.Q, s.C, Forward<T>{s, x, y}, 4);
}
template <class T>
void resize_backward(Device device, const ResizeShape& s, const T* dy, T* dx) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device)) return cpu::resize_backward(s, dy, dx);
  if (fast_on_cuda(device) && cuda::resize_backward(s, dy, dx)) return;
  for_each_tile(device, int64_t{s.N} * s.H * s.W, s.C, Backward<T>{s, dy, dx}, 16);
}

template void resize_forward(Device, const ResizeShape&, const float*, float*);
template void resize_forward(Device, const ResizeShape&, const Bf16*, Bf16*);
template void resize_backward(Device, const ResizeShape&, const float*, float*);
template void resize_backward(Device, const ResizeShape&, const Bf16*, Bf16*);

}  // namespace espalier::kernels
