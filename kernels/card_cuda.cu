#include "kernels/card.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>

#include "kernels/device_cuda.h"

namespace espalier::kernels::cuda {

namespace {

std::atomic<int64_t> limit{kWholeCard};

/// 0 where it cannot be asked.
int attribute(cudaDeviceAttr which) {
  int value = 0;
  return cudaDeviceGetAttribute(&value, which, current_gpu()) == cudaSuccess ? value : 0;
}

}  // namespace

bool is_hopper() { return limit == kWholeCard && attribute(cudaDevAttrComputeCapabilityMajor) == 9; }

int64_t shared_memory_of_block() {
  return std::min<int64_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin), limit);
}

void limit_shared_memory_of_block(int64_t bytes) { limit = bytes; }

}  // namespace espalier::kernels::cuda
