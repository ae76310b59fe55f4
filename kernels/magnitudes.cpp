#include "kernels/magnitudes.h"

#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/magnitudes_cuda.h"

namespace espalier::kernels {

namespace {
constexpr int64_t kAlone = 1 << 14;  // fewer values than are worth waking threads for
}

MagnitudeRange magnitude_range(Device device, int64_t n, const float* x) {
  if (device == Device::kCuda) return cuda::magnitude_range(n, x);
  float largest = 0;
  bool finite = true, negative = false;
#pragma omp parallel for schedule(static) reduction(max : largest) reduction(&& : finite) \
    reduction(|| : negative) if (n > kAlone)
  for (int64_t i = 0; i < n; ++i) {
    const float v = std::abs(x[i]);
    negative = negative || x[i] < 0;
    finite = finite && v <= std::numeric_limits<float>::max();
    largest = v > largest ? v : largest;
  }
  return {largest, finite, negative};
}

void count_magnitudes(Device device, int64_t n, const float* x, double per_width, int64_t* bins,
                      int64_t* octaves) {
  if (device == Device::kCuda) return cuda::count_magnitudes(n, x, per_width, bins, octaves);
#pragma omp parallel for schedule(static) reduction(+ : bins[:kMagnitudeBins]) if (n > kAlone)
  for (int64_t i = 0; i < n; ++i) {
    const float v = std::abs(x[i]);
    if (v > 0) ++bins[static_cast<int>(v * per_width)];
  }
#pragma omp parallel for schedule(static) reduction(+ : octaves[:kMagnitudeOctaves]) if (n > kAlone)
  for (int64_t i = 0; i < n; ++i)
    if (x[i] != 0) ++octaves[std::bit_cast<uint32_t>(x[i]) >> 23 & 255];
}

}  // namespace espalier::kernels
