#include "kernels/global_avg_pool.h"

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/pixel_maps_cuda.h"

namespace espalier::kernels {

namespace {

/// One row is one image.
template <class T>
struct Forward {
  int pixels, C;
  const T* x;
  float* y;
  template <int kTile>
  ESPALIER_HD void tile(int64_t image, int c0, int n) const {
    float sum[kTile] = {};
    for (int i = 0; i < pixels; ++i) {
      const T* in = x + (image * pixels + i) * C + c0;
      for (int c = 0; c < n; ++c) sum[c] += in[c];
    }
    for (int c = 0; c < n; ++c) y[image * C + c0 + c] = sum[c] / static_cast<float>(pixels);
  }
};

/// One row is one pixel.
template <class T>
struct Backward {
  int pixels, C;
  const float* dy;
  T* dx;
  template <int>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const float* g = dy + row / pixels * C + c0;
    for (int c = 0; c < n; ++c) dx[row * C + c0 + c] = g[c] / static_cast<float>(pixels);
  }
};

}  // namespace

template <class T>
void global_avg_pool_forward(Device device, int N, int pixels, int C, const T* x, float* y) {
  if (fast_on_cuda(device) && cuda::global_avg_pool_forward(N, pixels, C, x, y)) return;
  for_each_tile(device, N, C, Forward<T>{pixels, C, x, y}, pixels);
}
template <class T>
void global_avg_pool_backward(Device device, int N, int pixels, int C, const float* dy, T* dx) {
  for_each_tile(device, int64_t{N} * pixels, C, Backward<T>{pixels, C, dy, dx});
}

template void global_avg_pool_forward(Device, int, int, int, const float*, float*);
template void global_avg_pool_forward(Device, int, int, int, const Bf16*, float*);
template void global_avg_pool_backward(Device, int, int, int, const float*, float*);
template void global_avg_pool_backward(Device, int, int, int, const float*, Bf16*);

}  // namespace espalier::kernels
