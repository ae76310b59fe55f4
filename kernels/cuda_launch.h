#pragma once
// How a hand-written kernel reaches the GPU, or the emulated one (tests/emulated_cuda). Only .cu files of a
// build with CUDA include this.

#include "kernels/card.h"
#include "kernels/cuda_scratch.h"
#include "kernels/launch.h"

namespace espalier::kernels::cuda {

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kBlocks)
    run_kernel(const __grid_constant__ Kernel kernel) {
  kernel();
}

/// A kernel is a struct with kThreads, kBlocks, kSharedBytes and operator(), written in the words of
/// kernels/warp.h.
template <class Kernel>
void launch(const Kernel& kernel, int64_t blocks_x, int64_t blocks_y = 1, int64_t blocks_z = 1) {
  if (blocks_x == 0 || blocks_y == 0 || blocks_z == 0) return;  // which CUDA refuses
  // First, since a kernel's attributes are those of the thread's GPU.
  const auto stream = static_cast<cudaStream_t>(current_stream());
  if constexpr (Kernel::kSharedBytes > 48 * 1024) {
    const int64_t most = shared_memory_of_block();
    ESPALIER_CHECK(Kernel::kSharedBytes <= most, "CUDA: a block asks for ", Kernel::kSharedBytes,
                   " bytes of shared memory and may have ", most);
    static const cudaError_t allowed = cudaFuncSetAttribute(
        run_kernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize, Kernel::kSharedBytes);
    ESPALIER_CHECK(allowed == cudaSuccess, "CUDA: ", Kernel::kSharedBytes,
                   " bytes of shared memory a block: ", cudaGetErrorString(allowed));
  }
  const dim3 grid(static_cast<unsigned>(blocks_x), static_cast<unsigned>(blocks_y),
                  static_cast<unsigned>(blocks_z));
#ifdef __CUDACC__
  run_kernel<<<grid, Kernel::kThreads, Kernel::kSharedBytes, stream>>>(kernel);
#else
  emulated_cuda::launch(run_kernel<Kernel>, __PRETTY_FUNCTION__, grid, Kernel::kThreads, Kernel::kSharedBytes,
                        stream, kernel);
#endif
  check_launch(__PRETTY_FUNCTION__);
}

/// What the dispatchers of tile loops run on.
struct Machine {
  /// For kernels that are too large for some cards.
  template <class Kernel>
  static bool fits() {
    return Kernel::kSharedBytes <= shared_memory_of_block();
  }
  template <class Kernel>
  void launch(const Kernel& kernel, int64_t blocks, int64_t parts) {
    cuda::launch(kernel, blocks, 1, parts);
  }
  float* scratch(int64_t floats) { return cuda::scratch(ScratchUse::kParts, floats); }
  template <class Body>
  void for_each_row(int64_t rows, int channels, const Body& body) {
    for_each_tile(Device::kCuda, rows, channels, body);
  }
};

inline bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

}  // namespace espalier::kernels::cuda
