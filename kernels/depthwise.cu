#include "kernels/depthwise.h"

#include <type_traits>

#include "kernels/depthwise_cpu.h"
#include "kernels/depthwise_cuda.h"
#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/row_parts.h"

namespace espalier::kernels {

namespace {

/// One row is one output pixel.
template <class T>
struct DepthwiseForward {
  ConvShape s;
  const T* x;
  const float* w;
  EpilogueOf<T> e;
  T* y;
  template <int kTile>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const int q = static_cast<int>(row % s.Q()), p = static_cast<int>(row / s.Q() % s.P());
    const int64_t image = row / s.Q() / s.P();
    float sum[kTile] = {};
    for (int r = 0; r < s.R; ++r)
      for (int t = 0; t < s.S; ++t) {
        const int h = p * s.stride - s.pad.top + r, v = q * s.stride - s.pad.left + t;
        if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
        const T* in = x + ((image * s.H + h) * s.W + v) * s.C + c0;
        const float* f = w + (r * s.S + t) * s.C + c0;
        for (int c = 0; c < n; ++c) sum[c] += in[c] * f[c];
      }
    for (int c = 0; c < n; ++c) {
      const int64_t at = row * s.C + c0 + c;
      float v = sum[c];
      if (e.bias) v += e.bias[c0 + c];
      if (e.residual) v += e.residual[at];
      y[at] = e.act(v);
    }
  }
};

/// One row is one input pixel.
template <class T>
struct DepthwiseBackwardX {
  ConvShape s;
  const T* dy;
  const float* w;
  T* dx;
  template <int kTile>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const int v = static_cast<int>(row % s.W), h = static_cast<int>(row / s.W % s.H);
    const int64_t image = row / s.W / s.H;
    float sum[kTile] = {};
    for (int r = 0; r < s.R; ++r)
      for (int t = 0; t < s.S; ++t) {
        const int pr = h + s.pad.top - r, qt = v + s.pad.left - t;
        if (pr < 0 || qt < 0 || pr % s.stride || qt % s.stride) continue;
        const int p = pr / s.stride, q = qt / s.stride;
        if (p >= s.P() || q >= s.Q()) continue;
        const T* g = dy + ((image * s.P() + p) * s.Q() + q) * s.C + c0;
        const float* f = w + (r * s.S + t) * s.C + c0;
        for (int c = 0; c < n; ++c) sum[c] += g[c] * f[c];
      }
    for (int c = 0; c < n; ++c) dx[row * s.C + c0 + c] = sum[c];
  }
};

/// dw[part, r, s, c] of a part of all images' lines of dy. One row is one (part, r, s).
template <class T>
struct DepthwiseBackwardW {
  ConvShape s;
  RowCut lines;
  const T *x, *dy;
  float* dw;
  template <int kTile>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const int t = static_cast<int>(row % s.S), r = static_cast<int>(row / s.S % s.R);
    const int64_t part = row / s.S / s.R;
    float sum[kTile] = {};
    for (int64_t at = lines.first(part); at < lines.last(part); ++at) {
      const int64_t image = at / s.P();
      const int h = static_cast<int>(at % s.P()) * s.stride - s.pad.top + r;
      if (h < 0 || h >= s.H) continue;
      float line[kTile] = {};  // one sum over all pixels would lose digits
      for (int q = 0; q < s.Q(); ++q) {
        const int v = q * s.stride - s.pad.left + t;
        if (v < 0 || v >= s.W) continue;
        const T* g = dy + (at * s.Q() + q) * s.C + c0;
        const T* in = x + ((image * s.H + h) * s.W + v) * s.C + c0;
        for (int c = 0; c < n; ++c) line[c] += g[c] * in[c];
      }
      for (int c = 0; c < n; ++c) sum[c] += line[c];
    }
    for (int c = 0; c < n; ++c) dw[row * s.C + c0 + c] = sum[c];
  }
};

}  // namespace

template <class T>
void depthwise_forward(Device device, const ConvShape& s, const T* x, const float* w, const EpilogueOf<T>& e,
                       T* y) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device) && cpu::depthwise_forward(s, x, w, e, y)) return;
  if (fast_on_cuda(device) && cuda::depthwise_forward(s, x, {}, w, e, y)) return;
  for_each_tile(device, int64_t{s.N} * s.P() * s.Q(), s.C, DepthwiseForward<T>{s, x, w, e, y}, s.R * s.S);
}

template <class T>
void depthwise_backward_x(Device device, const ConvShape& s, const T* dy, const float* w, T* dx) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device) && cpu::depthwise_backward_x(s, dy, w, dx)) return;
  if (fast_on_cuda(device) && cuda::depthwise_backward_x(s, dy, w, dx)) return;
  for_each_tile(device, int64_t{s.N} * s.H * s.W, s.C, DepthwiseBackwardX<T>{s, dy, w, dx}, s.R * s.S);
}

template <class T>
void depthwise_backward_w(Device device, const ConvShape& s, const T* x, const T* dy, float* dw) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device) && cpu::depthwise_backward_w(s, x, dy, dw)) return;
  if (fast_on_cuda(device) && cuda::depthwise_backward_w(s, x, {}, dy, dw)) return;
  const RowCut lines(int64_t{s.N} * s.P(), 16, 128);
  const int64_t taps = int64_t{s.R} * s.S;
  sum_in_parts(device, lines.parts(), taps * s.C, dw, [&](float* parts) {
    for_each_tile(device, lines.parts() * taps, s.C, DepthwiseBackwardW<T>{s, lines, x, dy, parts},
                  lines.length * s.Q());
  });
}

#define ESPALIER_FOR(T)                                                                                   \
  template void depthwise_forward(Device, const ConvShape&, const T*, const float*, const EpilogueOf<T>&, \
                                  T*);                                                                    \
  template void depthwise_backward_x(Device, const ConvShape&, const T*, const float*, T*);               \
  template void depthwise_backward_w(Device, const ConvShape&, const T*, const T*, float*);
ESPALIER_FOR(float)
ESPALIER_FOR(Bf16)
#undef ESPALIER_FOR

}  // namespace espalier::kernels
