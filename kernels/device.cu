#include "kernels/device.h"

#include <omp.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "kernels/device_cuda.h"
#include "kernels/exact_blocks.h"
#include "kernels/gpu_obstacle.h"
#include "kernels/launch_graph.h"
#include "kernels/reserve.h"

namespace espalier {

const char* name(Device device) { return device == Device::kCpu ? "cpu" : "cuda"; }

namespace kernels {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;

void* allocate_cpu(size_t bytes) {
  // Large blocks are aligned for huge pages: page faults cost more than the arithmetic of a batch norm.
  const size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  const size_t rounded = exact_blocks() ? bytes : (bytes + alignment - 1) / alignment * alignment;
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, rounded) != 0)
    throw OutOfMemory(
        str("out of memory: ", bytes, " bytes were asked for on the CPU; lower the batch or the image size"));
  if (alignment == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);
  return memory;
}

std::atomic<bool (*)(Device)> reserve{nullptr};

/// What `ask` gives; where there is no memory, once more without what is kept for reuse.
template <class Ask>
void* ask_or_draw_on_reserve(Device device, const Ask& ask) {
  try {
    return ask();
  } catch (const OutOfMemory&) {
    const auto give_back = reserve.load();
    if (!give_back || recording(device) || !give_back(device)) throw;
  }
  return ask();
}

}  // namespace

void set_reserve(bool (*give_back)(Device)) { reserve = give_back; }

#ifndef ESPALIER_HAS_CUDA

std::string cuda_obstacle(int number) { return obstacle({.number = number}); }
bool cuda_available() { return false; }
void use_cuda(int number) { fail(str("device cuda:", number, ": ", cuda_obstacle(number))); }
std::string cuda_name() { return ""; }

void* allocate(Device device, size_t bytes) {
  ESPALIER_CHECK(device == Device::kCpu, "device cuda: ", cuda_obstacle());
  return ask_or_draw_on_reserve(device, [&] { return allocate_cpu(bytes); });
}
void release(Device, void* memory, size_t) { std::free(memory); }
void* allocate_lasting(Device device, size_t bytes) { return allocate(device, bytes); }
void release_lasting(Device device, void* memory, size_t bytes) { release(device, memory, bytes); }
size_t free_bytes(Device) { return 0; }
void copy(Device, void* dst, Device, const void* src, size_t bytes) { std::memcpy(dst, src, bytes); }
void fill_bytes(Device, void* memory, int byte, size_t bytes) { std::memset(memory, byte, bytes); }
void synchronize(Device) {}
void* current_stream() { return nullptr; }

#else

void* allocate(Device device, size_t bytes) {
  return ask_or_draw_on_reserve(
      device, [&] { return device == Device::kCpu ? allocate_cpu(bytes) : cuda::allocate(bytes); });
}

void release(Device device, void* memory, size_t) {
  if (device == Device::kCpu)
    std::free(memory);
  else
    cuda::release(memory);
}

void* allocate_lasting(Device device, size_t bytes) {
  return ask_or_draw_on_reserve(
      device, [&] { return device == Device::kCpu ? allocate_cpu(bytes) : cuda::allocate_lasting(bytes); });
}

void release_lasting(Device device, void* memory, size_t bytes) {
  if (device == Device::kCpu)
    release(device, memory, bytes);
  else
    cuda::release_lasting(memory);
}

size_t free_bytes(Device device) { return device == Device::kCpu ? 0 : cuda::free_bytes(); }

void copy(Device to, void* dst, Device from, const void* src, size_t bytes) {
  if (to == Device::kCpu && from == Device::kCpu)
    std::memcpy(dst, src, bytes);
  else if (to == Device::kCpu)
    cuda::download(dst, src, bytes);
  else if (from == Device::kCpu)
    cuda::upload(dst, src, bytes);
  else
    cuda::copy(dst, src, bytes);
}

void fill_bytes(Device device, void* memory, int byte, size_t bytes) {
  if (device == Device::kCpu)
    std::memset(memory, byte, bytes);
  else
    cuda::fill_bytes(memory, byte, bytes);
}

void synchronize(Device device) {
  if (device == Device::kCuda) cuda::synchronize();
}

#endif

namespace {
const int initial_threads = omp_get_max_threads();
}

void set_threads(int count) { omp_set_num_threads(count > 0 ? count : initial_threads); }
int threads() { return omp_get_max_threads(); }

}  // namespace kernels
}  // namespace espalier
