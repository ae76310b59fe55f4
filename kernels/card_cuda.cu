#include "kernels/card.h"

#include <cuda_runtime.h>

namespace espalier::kernels::cuda {

namespace {

/// 0 where it cannot be asked.
int attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  return cudaGetDevice(&device) == cudaSuccess && cudaDeviceGetAttribute(&value, which, device) == cudaSuccess
             ? value
             : 0;
}

}  // namespace

bool is_hopper() { return attribute(cudaDevAttrComputeCapabilityMajor) == 9; }

int64_t shared_memory_of_block() { return attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin); }

}  // namespace espalier::kernels::cuda
