#include "kernels/label_map_cuda.h"

#include <vector>

#include "kernels/cuda_launch.h"
#include "kernels/label_pair_loops.h"

namespace espalier::kernels::cuda {

void count_label_pairs(int64_t n, int classes, const uint8_t* labels, const uint8_t* predictions,
                       int64_t* counts) {
  using label_pairs::Count;
  std::vector<uint32_t> host(static_cast<size_t>(classes) * 256);
  const size_t bytes = host.size() * sizeof(uint32_t);
  auto* words = reinterpret_cast<uint32_t*>(scratch(ScratchUse::kSums, static_cast<int64_t>(host.size())));
  fill_bytes(Device::kCuda, words, 0, bytes);
  const int64_t blocks = Count::blocks_for(n);
  if (n > 0)
    launch(Count{n, blocks, labels, predictions, classes, words}, blocks, 1, Count::parts_for(classes));
  copy(Device::kCpu, host.data(), Device::kCuda, words, bytes);
  std::copy(host.begin(), host.end(), counts);
}

}  // namespace espalier::kernels::cuda
