#pragma once
// What the latency benches share.

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/random.h"
#include "tensor/tensor.h"

namespace espalier {

inline double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// The value that `share` of the others stay under; 0.5 is the median.
inline double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

/// Normal pixels [batch,size,size,3].
inline Tensor random_images(int batch, int size) {
  Random random(1, Purpose::kTest);
  std::vector<float> pixels(static_cast<size_t>(batch) * size * size * 3);
  for (float& v : pixels) v = static_cast<float>(random.normal());
  return Tensor::from(pixels, {batch, size, size, 3});
}

}  // namespace espalier
