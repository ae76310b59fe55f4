#include "kernels/quantized_conv2d.h"

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/quantized_body.h"
#include "kernels/quantized_cuda.h"

namespace espalier::kernels {

namespace {

/// One row is one output pixel.
struct Dense {
  ConvShape s;
  Code x_code, y_code;
  const void* x;
  const int8_t* w;
  Requantize r;
  void* y;
  template <int T>
  ESPALIER_HD void tile(int64_t row, int k0, int n) const {
    const int q = static_cast<int>(row % s.Q()), p = static_cast<int>(row / s.Q() % s.P());
    const int64_t image = row / s.Q() / s.P();
    for (int k = k0; k < k0 + n; ++k) {
      int32_t sum = 0;
      for (int i = 0; i < s.R; ++i)
        for (int t = 0; t < s.S; ++t) {
          const int h = p * s.stride - s.pad.top + i, v = q * s.stride - s.pad.left + t;
          if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
          const int64_t in = ((image * s.H + h) * s.W + v) * s.C,
                        f = ((int64_t{k} * s.R + i) * s.S + t) * s.C;
          for (int c = 0; c < s.C; ++c) sum += code_at(x, x_code, in + c) * w[f + c];
        }
      store_requantized(r, sum, k, row * s.K + k, y_code, y);
    }
  }
};

/// One row is one output pixel.
struct Depthwise {
  ConvShape s;
  Code x_code, y_code;
  const void* x;
  const int8_t* w;
  Requantize r;
  void* y;
  template <int T>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const int q = static_cast<int>(row % s.Q()), p = static_cast<int>(row / s.Q() % s.P());
    const int64_t image = row / s.Q() / s.P();
    int32_t sum[T] = {};
    for (int i = 0; i < s.R; ++i)
      for (int t = 0; t < s.S; ++t) {
        const int h = p * s.stride - s.pad.top + i, v = q * s.stride - s.pad.left + t;
        if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
        const int64_t in = ((image * s.H + h) * s.W + v) * s.C + c0;
        for (int c = 0; c < n; ++c) sum[c] += code_at(x, x_code, in + c) * w[(i * s.S + t) * s.C + c0 + c];
      }
    for (int c = 0; c < n; ++c) store_requantized(r, sum[c], c0 + c, row * s.C + c0 + c, y_code, y);
  }
};

}  // namespace

void quantized_conv2d(Device device, const ConvShape& s, Code x_code, const void* x, const int8_t* w,
                      const Requantize& r, Code y_code, void* y) {
  if (fast_on_cuda(device) && cuda::quantized_conv2d(s, x_code, x, w, r, y_code, y)) return;
  for_each_tile(device, int64_t{s.N} * s.P() * s.Q(), s.K, Dense{s, x_code, y_code, x, w, r, y},
                s.R * s.S * s.C);
}

void quantized_depthwise(Device device, const ConvShape& s, Code x_code, const void* x, const int8_t* w,
                         const Requantize& r, Code y_code, void* y) {
  if (fast_on_cuda(device) && cuda::quantized_depthwise(s, x_code, x, w, r, y_code, y)) return;
  for_each_tile(device, int64_t{s.N} * s.P() * s.Q(), s.C, Depthwise{s, x_code, y_code, x, w, r, y},
                s.R * s.S);
}

}  // namespace espalier::kernels
