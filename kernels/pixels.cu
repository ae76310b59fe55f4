#include "kernels/pixels.h"

#include <cmath>

#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

/// Sixteen pixels at a time on the CPU: the pattern of three channels then fills whole vectors of any width.
constexpr int kPattern = 16 * 3;

/// One item is one channel of one pixel.
struct ScaleBytes {
  const uint8_t* x;
  PixelScale s;
  float* y;
  ESPALIER_HD void operator()(int64_t i) const {
    const int c = static_cast<int>(i % 3);
    y[i] = std::fma(static_cast<float>(x[i]), s.scale[c], s.shift[c]);
  }
};

void scale_on_cpu(int64_t values, const uint8_t* x, const PixelScale& s, float* y) {
  float scale[kPattern], shift[kPattern];
  for (int i = 0; i < kPattern; ++i) {
    scale[i] = s.scale[i % 3];
    shift[i] = s.shift[i % 3];
  }
  const int64_t whole = values / kPattern * kPattern;
  for (int64_t i = 0; i < whole; i += kPattern)
    for (int k = 0; k < kPattern; ++k) y[i + k] = std::fma(static_cast<float>(x[i + k]), scale[k], shift[k]);
  for (int64_t i = whole; i < values; ++i)
    y[i] = std::fma(static_cast<float>(x[i]), scale[i - whole], shift[i - whole]);
}

}  // namespace

void scale_pixels(Device device, int64_t pixels, const uint8_t* x, const PixelScale& scale, float* y) {
  if (device == Device::kCpu) return scale_on_cpu(3 * pixels, x, scale, y);
  for_each(device, 3 * pixels, ScaleBytes{x, scale, y});
}

}  // namespace espalier::kernels
