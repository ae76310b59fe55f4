#include "kernels/dropout.h"

#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

/// One item is one element. The hash is splitmix64 of the element's counter under the key (Steele et al.,
/// 2014).
struct Dropout {
  uint64_t key;
  uint32_t dropped_below;  // of 32 bits
  float factor;
  const float* x;
  float* y;
  ESPALIER_HD void operator()(int64_t i) const {
    uint64_t z = key + static_cast<uint64_t>(i + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    y[i] = static_cast<uint32_t>((z ^ z >> 31) >> 32) < dropped_below ? 0.0f : x[i] * factor;
  }
};

}  // namespace

void dropout(Device device, int64_t n, uint64_t key, float probability, const float* x, float* y) {
  const double bound = double{probability} * 0x1p32;
  for_each(device, n, Dropout{key, static_cast<uint32_t>(bound), 1.0f / (1.0f - probability), x, y}, 8);
}

}  // namespace espalier::kernels
