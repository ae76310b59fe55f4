#include "kernels/quantized_elementwise.h"

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/quantized_body.h"
#include "kernels/quantized_cuda.h"

namespace espalier::kernels {

namespace {

struct Quantize {
  const float* x;
  float inverse_scale;
  int low, high;
  Code y_code;
  void* y;
  ESPALIER_HD void operator()(int64_t i) const {
    store_code(y, y_code, i, to_code(x[i] * inverse_scale, low, high));
  }
};

struct Dequantize {
  Code x_code;
  const void* x;
  float scale;
  float* y;
  ESPALIER_HD void operator()(int64_t i) const { y[i] = static_cast<float>(code_at(x, x_code, i)) * scale; }
};

struct Add {
  Code a_code, b_code, y_code;
  const void *a, *b;
  float a_factor, b_factor;
  int low, high;
  void* y;
  ESPALIER_HD void operator()(int64_t i) const {
    const float f = fmaf(static_cast<float>(code_at(b, b_code, i)), b_factor,
                         static_cast<float>(code_at(a, a_code, i)) * a_factor);
    store_code(y, y_code, i, to_code(f, low, high));
  }
};

/// One row is one image.
struct GlobalAvgPool {
  int pixels, C;
  Code code;
  const void* x;
  void* y;
  template <int T>
  ESPALIER_HD void tile(int64_t image, int c0, int n) const {
    int32_t sum[T] = {};
    for (int i = 0; i < pixels; ++i)
      for (int c = 0; c < n; ++c) sum[c] += code_at(x, code, (image * pixels + i) * C + c0 + c);
    for (int c = 0; c < n; ++c)
      store_code(y, code, image * C + c0 + c,
                 static_cast<int>(rintf(static_cast<float>(sum[c]) / static_cast<float>(pixels))));
  }
};

}  // namespace

void quantize(Device device, int64_t n, const float* x, float inverse_scale, int low, int high, Code y_code,
              void* y) {
  if (fast_on_cuda(device) && y_code != Code::kF32 && cuda::quantize(n, x, inverse_scale, low, high, y))
    return;
  for_each(device, n, Quantize{x, inverse_scale, low, high, y_code, y}, 4);
}
void dequantize(Device device, int64_t n, Code x_code, const void* x, float scale, float* y) {
  for_each(device, n, Dequantize{x_code, x, scale, y}, 2);
}
void quantized_add(Device device, int64_t n, Code a_code, const void* a, float a_factor, Code b_code,
                   const void* b, float b_factor, int low, int high, Code y_code, void* y) {
  if (fast_on_cuda(device) && y_code != Code::kF32 &&
      cuda::quantized_add(n, a_code, a, a_factor, b_code, b, b_factor, low, high, y))
    return;
  for_each(device, n, Add{a_code, b_code, y_code, a, b, a_factor, b_factor, low, high, y}, 8);
}
void quantized_global_avg_pool(Device device, int N, int pixels, int C, Code code, const void* x, void* y) {
  if (fast_on_cuda(device) && cuda::quantized_global_avg_pool(N, pixels, C, code, x, y)) return;
  for_each_tile(device, N, C, GlobalAvgPool{pixels, C, code, x, y}, pixels);
}

}  // namespace espalier::kernels
