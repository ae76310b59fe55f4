#include "kernels/magnitudes_cuda.h"

#include <cstring>
#include <vector>

#include "kernels/cuda_launch.h"
#include "kernels/magnitude_loops.h"

namespace espalier::kernels::cuda {

namespace {

/// So many words on the GPU, all 0.
uint32_t* zeroed(int words) {
  float* memory = scratch(ScratchUse::kSums, words);
  fill_bytes(Device::kCuda, memory, 0, static_cast<size_t>(words) * sizeof(uint32_t));
  return reinterpret_cast<uint32_t*>(memory);
}

std::vector<uint32_t> on_host(const uint32_t* words, int count) {
  std::vector<uint32_t> host(static_cast<size_t>(count));
  copy(Device::kCpu, host.data(), Device::kCuda, words, host.size() * sizeof(uint32_t));
  return host;
}

}  // namespace

MagnitudeRange magnitude_range(int64_t n, const float* x) {
  if (n == 0) return {};
  uint32_t* words = zeroed(2);
  const int64_t blocks = magnitudes::blocks_for(n);
  launch(magnitudes::Range{n, blocks, x, words}, blocks);
  const std::vector<uint32_t> came = on_host(words, 2);
  MagnitudeRange range{.finite = came[0] < magnitudes::kInfinity, .negative = came[1] != 0};
  std::memcpy(&range.largest, &came[0], sizeof range.largest);
  return range;
}

void count_magnitudes(int64_t n, const float* x, double per_width, int64_t* bins, int64_t* octaves) {
  if (n == 0) return;
  using magnitudes::Count;
  uint32_t* counts = zeroed(Count::kCounts);
  const int64_t blocks = magnitudes::blocks_for(n);
  launch(Count{n, blocks, x, per_width, counts}, blocks);
  const std::vector<uint32_t> came = on_host(counts, Count::kCounts);
  for (int i = 0; i < kMagnitudeBins; ++i) bins[i] += came[i];
  for (int i = 0; i < kMagnitudeOctaves; ++i) octaves[i] += came[kMagnitudeBins + i];
}

}  // namespace espalier::kernels::cuda
