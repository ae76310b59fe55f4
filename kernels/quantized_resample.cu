#include "kernels/quantized_resample.h"

#include "kernels/dispatch.h"
#include "kernels/launch.h"
#include "kernels/quantized_body.h"
#include "kernels/quantized_cuda.h"
#include "kernels/resize_source.h"

namespace espalier::kernels {

namespace {

/// One row is one output pixel.
struct MaxPool {
  ConvShape s;
  Code code;
  const void* x;
  void* y;
  template <int T>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const int q = static_cast<int>(row % s.Q()), p = static_cast<int>(row / s.Q() % s.P());
    const int64_t image = row / s.Q() / s.P() * s.H * s.W;
    for (int c = c0; c < c0 + n; ++c) {
      int best = -1000;  // below every code
      for (int r = 0; r < s.R; ++r)
        for (int t = 0; t < s.S; ++t) {
          const int h = p * s.stride - s.pad.top + r, v = q * s.stride - s.pad.left + t;
          if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
          const int value = code_at(x, code, (image + int64_t{h} * s.W + v) * s.C + c);
          best = value > best ? value : best;
        }
      store_code(y, code, row * s.C + c, best);
    }
  }
};

/// One row is one output pixel.
struct Resize {
  ResizeShape s;
  Code code;
  const void* x;
  void* y;
  template <int T>
  ESPALIER_HD void tile(int64_t row, int c0, int n) const {
    const Source h = source(s.sampling, static_cast<int>(row / s.Q % s.P), s.H, s.P);
    const Source v = source(s.sampling, static_cast<int>(row % s.Q), s.W, s.Q);
    const int64_t image = row / s.Q / s.P * s.H * s.W;
    const auto at = [&](int line, int column, int c) {
      return static_cast<float>(code_at(x, code, (image + int64_t{line} * s.W + column) * s.C + c));
    };
    for (int c = c0; c < c0 + n; ++c) {
      const float mixed = mix_codes(at(h.low, v.low, c), at(h.low, v.high, c), at(h.high, v.low, c),
                                    at(h.high, v.high, c), v.f, h.f);
      store_code(y, code, row * s.C + c, static_cast<int>(rintf(mixed)));
    }
  }
};

}  // namespace

void quantized_max_pool(Device device, const ConvShape& s, Code code, const void* x, void* y) {
  if (fast_on_cuda(device) && cuda::quantized_max_pool(s, code, x, y)) return;
  for_each_tile(device, int64_t{s.N} * s.P() * s.Q(), s.C, MaxPool{s, code, x, y}, s.R * s.S);
}
void quantized_resize(Device device, const ResizeShape& s, Code code, const void* x, void* y) {
  if (fast_on_cuda(device) && cuda::quantized_resize(s, code, x, y)) return;
  for_each_tile(device, int64_t{s.N} * s.P * s.Q, s.C, Resize{s, code, x, y}, 8);
}

}  // namespace espalier::kernels
