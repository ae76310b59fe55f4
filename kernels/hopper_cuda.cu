#include "kernels/hopper.h"

#include <cuda_runtime.h>

namespace espalier::kernels::cuda {

bool is_hopper() {
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         major == 9;
}

}  // namespace espalier::kernels::cuda
