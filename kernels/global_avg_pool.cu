#include "kernels/global_avg_pool.h"

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/pixel_maps_cuda.h"

namespace espalier::kernels {

namespace {

/// One row is one image.
struct Forward {
  int pixels, C;
  const float* x;
  float* y;
  template <int T>
  ESPALIER_HD void tile(int64_t image, int c0, int n) const {
    float sum[T] = {};
    for (int i = 0; i < pixels; ++i) {
      const float* in = x + (image * pixels + i) * C + c0;
      for (int c = 0; c < n; ++c) sum[c] += in[c];
    }
    for (int c = 0; c < n; ++c) y[image * C + c0 + c] = sum[c] / static_cast<float>(pixels);
  }
};

/// One row is one pixel.
struct Backward {
  int pixels, C;
  const float* dy;
  float* dx;
  template <int T>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const float* g = dy + row / pixels * C + c0;
    for (int c = 0; c < n; ++c) dx[row * C + c0 + c] = g[c] / static_cast<float>(pixels);
  }
};

}  // namespace

void global_avg_pool_forward(Device device, int N, int pixels, int C, const float* x, float* y) {
  if (fast_on_cuda(device) && cuda::global_avg_pool_forward(N, pixels, C, x, y)) return;
  for_each_tile(device, N, C, Forward{pixels, C, x, y}, pixels);
}
void global_avg_pool_backward(Device device, int N, int pixels, int C, const float* dy, float* dx) {
  for_each_tile(device, int64_t{N} * pixels, C, Backward{pixels, C, dy, dx});
}

}  // namespace espalier::kernels
