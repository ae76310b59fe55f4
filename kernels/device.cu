#include "kernels/device.h"

#include <omp.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "kernels/launch.h"

namespace espalier {

const char* name(Device device) { return device == Device::kCpu ? "cpu" : "cuda"; }

namespace kernels {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;

void* allocate_cpu(size_t bytes) {
  // Large blocks are aligned for huge pages: page faults cost more than the arithmetic of a batch norm.
  const size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded);
  ESPALIER_CHECK(memory, "out of memory: ", bytes,
                 " bytes were asked for on the CPU; lower the batch or the image size");
  if (alignment == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);
  return memory;
}

}  // namespace

#ifdef ESPALIER_HAS_CUDA

void check_cuda(cudaError_t status, const char* call) {
  ESPALIER_CHECK(status == cudaSuccess, "CUDA: ", call, ": ", cudaGetErrorString(status));
}
#define ESPALIER_CUDA_CHECK(call) check_cuda(call, #call)

bool cuda_available() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

void* allocate(Device device, size_t bytes) {
  if (device == Device::kCpu) return allocate_cpu(bytes);
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  size_t free = 0, total = 0;
  if (status == cudaErrorMemoryAllocation) cudaMemGetInfo(&free, &total);
  ESPALIER_CHECK(status != cudaErrorMemoryAllocation, "out of memory: ", bytes,
                 " bytes were asked for on the GPU, ", free, " of ", total,
                 " are free; lower the batch or the image size");
  check_cuda(status, "cudaMalloc");
  return memory;
}

void release(Device device, void* memory, size_t) {
  if (device == Device::kCpu)
    std::free(memory);
  else
    cudaFree(memory);
}

void copy(Device to, void* dst, Device from, const void* src, size_t bytes) {
  if (to == Device::kCpu && from == Device::kCpu)
    std::memcpy(dst, src, bytes);
  else
    ESPALIER_CUDA_CHECK(cudaMemcpy(dst, src, bytes, cudaMemcpyDefault));
}

void fill_zero(Device device, void* memory, size_t bytes) {
  if (device == Device::kCpu)
    std::memset(memory, 0, bytes);
  else
    ESPALIER_CUDA_CHECK(cudaMemset(memory, 0, bytes));
}

void synchronize(Device device) {
  if (device == Device::kCuda) ESPALIER_CUDA_CHECK(cudaDeviceSynchronize());
}

#else

bool cuda_available() { return false; }

void* allocate(Device device, size_t bytes) {
  ESPALIER_CHECK(device == Device::kCpu, "device cuda: this program was built without CUDA; use device cpu");
  return allocate_cpu(bytes);
}
void release(Device, void* memory, size_t) { std::free(memory); }
void copy(Device, void* dst, Device, const void* src, size_t bytes) { std::memcpy(dst, src, bytes); }
void fill_zero(Device, void* memory, size_t bytes) { std::memset(memory, 0, bytes); }
void synchronize(Device) {}

#endif

void* current_stream() { return nullptr; }

void set_threads(int count) { omp_set_num_threads(count > 0 ? count : omp_get_num_procs()); }
int threads() { return omp_get_max_threads(); }

}  // namespace kernels
}  // namespace espalier
