#include "kernels/conv2d.h"

#include <type_traits>

#include "kernels/batch_norm_cuda.h"
#include "kernels/conv2d_cpu.h"
#include "kernels/conv2d_cuda.h"
#include "kernels/dispatch.h"
#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

/// One row is one output pixel, one tile some of its channels.
template <class T>
struct Conv2dForward {
  ConvShape s;
  const T* x;
  const float* w;
  EpilogueOf<T> e;
  T* y;
  template <int kTile>
  ESPALIER_HD void tile(int64_t row, int k0, int n) const {
    const int q = static_cast<int>(row % s.Q()), p = static_cast<int>(row / s.Q() % s.P());
    const int64_t image = row / s.Q() / s.P();
    for (int k = k0; k < k0 + n; ++k) {
      float sum = 0;
      for (int r = 0; r < s.R; ++r)
        for (int t = 0; t < s.S; ++t) {
          const int h = p * s.stride - s.pad.top + r, v = q * s.stride - s.pad.left + t;
          if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
          const T* in = x + ((image * s.H + h) * s.W + v) * s.C;
          const float* f = w + ((int64_t{k} * s.R + r) * s.S + t) * s.C;
          for (int c = 0; c < s.C; ++c) sum += in[c] * f[c];
        }
      const int64_t at = row * s.K + k;
      if (e.bias) sum += e.bias[k];
      if (e.residual) sum += e.residual[at];
      y[at] = e.act(sum);
    }
  }
};

/// One row is one input pixel.
template <class T>
struct Conv2dBackwardX {
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
        const T* g = dy + ((image * s.P() + p) * s.Q() + q) * s.K;
        for (int k = 0; k < s.K; ++k) {
          const float* f = w + ((int64_t{k} * s.R + r) * s.S + t) * s.C + c0;
          for (int c = 0; c < n; ++c) sum[c] += g[k] * f[c];
        }
      }
    for (int c = 0; c < n; ++c) dx[row * s.C + c0 + c] = sum[c];
  }
};

/// One row is one (filter, r, s).
template <class T>
struct Conv2dBackwardW {
  ConvShape s;
  const T *x, *dy;
  float* dw;
  template <int kTile>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const int t = static_cast<int>(row % s.S), r = static_cast<int>(row / s.S % s.R);
    const int64_t k = row / s.S / s.R;
    float sum[kTile] = {};
    for (int64_t image = 0; image < s.N; ++image)
      for (int p = 0; p < s.P(); ++p) {
        const int h = p * s.stride - s.pad.top + r;
        if (h < 0 || h >= s.H) continue;
        float line[kTile] = {};  // one sum over all pixels would lose digits
        for (int q = 0; q < s.Q(); ++q) {
          const int v = q * s.stride - s.pad.left + t;
          if (v < 0 || v >= s.W) continue;
          const float g = dy[((image * s.P() + p) * s.Q() + q) * s.K + k];
          const T* in = x + ((image * s.H + h) * s.W + v) * s.C + c0;
          for (int c = 0; c < n; ++c) line[c] += g * in[c];
        }
        for (int c = 0; c < n; ++c) sum[c] += line[c];
      }
    for (int c = 0; c < n; ++c) dw[row * s.C + c0 + c] = sum[c];
  }
};

/// One row only; a tile sums its channels over all rows of x, in runs of kRun: one sum over all would lose
/// digits.
template <class T>
struct SumRows {
  static constexpr int64_t kRun = 256;
  int64_t rows;
  int channels;
  const T* x;
  float* sum;
  template <int kTile>
  ESPALIER_HD void tile(int64_t, int c0, int n) const {
    float total[kTile] = {};
    for (int64_t first = 0; first < rows; first += kRun) {
      float part[kTile] = {};
      for (int64_t i = first; i < rows && i < first + kRun; ++i)
        for (int c = 0; c < n; ++c) part[c] += x[i * channels + c0 + c];
      for (int c = 0; c < n; ++c) total[c] += part[c];
    }
    for (int c = 0; c < n; ++c) sum[c0 + c] = total[c];
  }
};

}  // namespace

template <class T>
void conv2d_forward(Device device, const ConvShape& s, const T* x, const float* w, const EpilogueOf<T>& e,
                    T* y) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device) && cpu::conv2d_forward(s, x, w, e, y)) return;
  if (fast_on_cuda(device) && cuda::conv2d_forward(s, x, w, e, y)) return;
  for_each_tile(device, int64_t{s.N} * s.P() * s.Q(), s.K, Conv2dForward<T>{s, x, w, e, y}, s.R * s.S * s.C);
}

bool conv2d_forward_of_stored(Device device, const ConvShape& s, const Bf16* x, const Bf16* w,
                              const EpilogueOf<Bf16>& e, Bf16* y) {
  return fast_on_cuda(device) && cuda::conv2d_forward_of_stored(s, x, w, e, y);
}

template <class T>
void conv2d_backward_x(Device device, const ConvShape& s, const T* dy, const float* w, T* dx) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device) && cpu::conv2d_backward_x(s, dy, w, dx)) return;
  if (fast_on_cuda(device) && cuda::conv2d_backward_x(s, dy, w, dx)) return;
  for_each_tile(device, int64_t{s.N} * s.H * s.W, s.C, Conv2dBackwardX<T>{s, dy, w, dx}, s.R * s.S * s.K);
}

template <class T>
void conv2d_backward_w(Device device, const ConvShape& s, const T* x, const T* dy, float* dw) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device) && cpu::conv2d_backward_w(s, x, dy, dw)) return;
  if (fast_on_cuda(device) && cuda::conv2d_backward_w(s, x, dy, dw)) return;
  for_each_tile(device, int64_t{s.K} * s.R * s.S, s.C, Conv2dBackwardW<T>{s, x, dy, dw},
                int64_t{s.N} * s.P() * s.Q());
}

template <class T>
void sum_rows(Device device, int64_t rows, int channels, const T* x, float* sum) {
  if (fast_on_cuda(device) && cuda::sum_rows(rows, channels, x, sum)) return;
  for_each_tile(device, 1, channels, SumRows<T>{rows, channels, x, sum}, rows);
}

#define ESPALIER_FOR(T)                                                                                     \
  template void conv2d_forward(Device, const ConvShape&, const T*, const float*, const EpilogueOf<T>&, T*); \
  template void conv2d_backward_x(Device, const ConvShape&, const T*, const float*, T*);                    \
  template void conv2d_backward_w(Device, const ConvShape&, const T*, const T*, float*);                    \
  template void sum_rows(Device, int64_t, int, const T*, float*);
ESPALIER_FOR(float)
ESPALIER_FOR(Bf16)
#undef ESPALIER_FOR

}  // namespace espalier::kernels
