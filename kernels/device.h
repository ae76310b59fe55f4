#pragma once
// Memory and devices, raw: the caching allocator above it is src/tensor/allocator.h.

#include <cstddef>

namespace espalier {

/// Where a tensor lives. One GPU per process: the current CUDA device.
enum class Device : unsigned char { kCpu, kCuda };

const char* name(Device device);

namespace kernels {

/// True when the program was built with CUDA and a GPU answers.
bool cuda_available();

/// Memory on the device, 64-byte aligned on the CPU; throws Error when there is none left.
void* allocate(Device device, size_t bytes);
void release(Device device, void* memory, size_t bytes);

void copy(Device to, void* dst, Device from, const void* src, size_t bytes);
void fill_zero(Device device, void* memory, size_t bytes);

/// Waits until all work queued on the device has ended. Nothing to do on the CPU.
void synchronize(Device device);

/// The stream that every launch goes to, a cudaStream_t; null is CUDA's default stream.
void* current_stream();

/// Threads that CPU kernels use; 0 restores the machine's count. Also limits oneDNN, which shares the pool.
void set_threads(int count);
int threads();

}  // namespace kernels
}  // namespace espalier
