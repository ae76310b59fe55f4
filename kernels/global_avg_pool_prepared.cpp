#include "kernels/global_avg_pool_prepared.h"

#include <algorithm>

#include "kernels/simd.h"

namespace espalier::kernels {

void global_avg_pool_prepared(int N, int64_t pixels, int C, const float* x, float* y, const Team& team) {
  using namespace simd;
  const int blocks = (C + kLanes - 1) / kLanes;
  const Share share(N * blocks, team.thread, team.threads);
  const Vector scale = broadcast(1.0f / static_cast<float>(pixels));
  for (int i = share.first; i < share.last; ++i) {
    const int64_t n = i / blocks;
    const int c = i % blocks * kLanes, channels = std::min(kLanes, C - c);
    const float* from = x + n * pixels * C + c;
    const auto pixel = [&](int64_t p) {
      return channels == kLanes ? load(from + p * C) : load(from + p * C, channels);
    };
    Vector sum[4] = {zero(), zero(), zero(), zero()};  // additions take four cycles
    int64_t p = 0;
    for (; p + 4 <= pixels; p += 4)
      for (int k = 0; k < 4; ++k) sum[k] = add(sum[k], pixel(p + k));
    for (; p < pixels; ++p) sum[0] = add(sum[0], pixel(p));
    const Vector mean = multiply(add(add(sum[0], sum[1]), add(sum[2], sum[3])), scale);
    store(y + n * C + c, mean, channels);
  }
}

}  // namespace espalier::kernels
