#include "kernels/max_pool.h"

#include <type_traits>

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/max_pool_cpu.h"
#include "kernels/pixel_maps_cuda.h"

namespace espalier::kernels {

namespace {

/// The first largest element of a window: where it is and what it is.
struct Winner {
  int h = -1, v = -1;
  float value = 0;
};

template <class T>
ESPALIER_HD Winner winner(const ConvShape& s, const T* image, int p, int q, int c) {
  Winner best;
  for (int r = 0; r < s.R; ++r)
    for (int t = 0; t < s.S; ++t) {
      const int h = p * s.stride - s.pad.top + r, v = q * s.stride - s.pad.left + t;
      if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
      const float value = image[(int64_t{h} * s.W + v) * s.C + c];
      // !(<=) lets NaN win, so that it is seen instead of swallowed.
      if (best.h < 0 || !(value <= best.value)) {
        best.h = h;
        best.v = v;
        best.value = value;
      }
    }
  return best;
}

/// One row is one output pixel.
template <class T>
struct Forward {
  ConvShape s;
  const T* x;
  T* y;
  template <int kTile>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const int q = static_cast<int>(row % s.Q()), p = static_cast<int>(row / s.Q() % s.P());
    const T* image = x + row / s.Q() / s.P() * s.H * s.W * s.C;
    for (int c = 0; c < n; ++c) y[row * s.C + c0 + c] = winner(s, image, p, q, c0 + c).value;
  }
};

/// One row is one input pixel.
template <class T>
struct Backward {
  ConvShape s;
  const T *x, *dy;
  T* dx;
  template <int kTile>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const int v = static_cast<int>(row % s.W), h = static_cast<int>(row / s.W % s.H);
    const int64_t number = row / s.W / s.H;
    const T* image = x + number * s.H * s.W * s.C;
    float sum[kTile] = {};
    for (int r = 0; r < s.R; ++r)
      for (int t = 0; t < s.S; ++t) {
        const int pr = h + s.pad.top - r, qt = v + s.pad.left - t;
        if (pr < 0 || qt < 0 || pr % s.stride || qt % s.stride) continue;
        const int p = pr / s.stride, q = qt / s.stride;
        if (p >= s.P() || q >= s.Q()) continue;
        for (int c = 0; c < n; ++c) {
          const Winner best = winner(s, image, p, q, c0 + c);
          if (best.h == h && best.v == v) sum[c] += dy[((number * s.P() + p) * s.Q() + q) * s.C + c0 + c];
        }
      }
    for (int c = 0; c < n; ++c) dx[row * s.C + c0 + c] = sum[c];
  }
};

}  // namespace

template <class T>
void max_pool_forward(Device device, const ConvShape& s, const T* x, T* y) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device) && cpu::max_pool_forward(s, x, y)) return;
  if (fast_on_cuda(device) && cuda::max_pool_forward(s, x, y)) return;
  for_each_tile(device, int64_t{s.N} * s.P() * s.Q(), s.C, Forward<T>{s, x, y}, s.R * s.S);
}
template <class T>
void max_pool_backward(Device device, const ConvShape& s, const T* x, const T* dy, T* dx) {
  if constexpr (std::is_same_v<T, float>)
    if (fast_on_cpu(device) && cpu::max_pool_backward(s, x, dy, dx)) return;
  if (fast_on_cuda(device) && cuda::max_pool_backward(s, x, dy, dx)) return;
  for_each_tile(device, int64_t{s.N} * s.H * s.W, s.C, Backward<T>{s, x, dy, dx}, s.R * s.S);
}

template void max_pool_forward(Device, const ConvShape&, const float*, float*);
template void max_pool_forward(Device, const ConvShape&, const Bf16*, Bf16*);
template void max_pool_backward(Device, const ConvShape&, const float*, const float*, float*);
template void max_pool_backward(Device, const ConvShape&, const Bf16*, const Bf16*, Bf16*);

}  // namespace espalier::kernels
