#include "kernels/dropout.h"

#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

/// One item is one block of random words: four elements.
struct Dropout {
  int64_t n;
  DropoutStream of;
  uint32_t dropped_below;  // of 32 bits
  float factor;
  const float* x;
  float* y;
  ESPALIER_HD void operator()(int64_t item) const {
    const auto words = of.stream().block(static_cast<uint32_t>(item));
    const int64_t first = item * 4;
    const int count = n - first < 4 ? static_cast<int>(n - first) : 4;
    for (int k = 0; k < count; ++k) y[first + k] = words[k] < dropped_below ? 0.0f : x[first + k] * factor;
  }
};

}  // namespace

void dropout(Device device, int64_t n, const DropoutStream& stream, float probability, const float* x,
             float* y) {
  const double bound = double{probability} * 0x1p32;
  const Dropout body{n, stream, static_cast<uint32_t>(bound), 1.0f / (1.0f - probability), x, y};
  for_each(device, (n + 3) / 4, body, 64);
}

}  // namespace espalier::kernels
