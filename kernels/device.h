#pragma once
// Memory and devices, raw: the caching allocator above it is src/tensor/allocator.h.

#include <cstddef>
#include <string>

namespace espalier {

/// Where a tensor lives. One GPU per process, see use_cuda().
enum class Device : unsigned char { kCpu, kCuda };

const char* name(Device device);

namespace kernels {

/// Why GPU `number` cannot be used, in one line that says what to do; empty if it can. Makes it the process's
/// GPU when it can and none was in use before.
std::string cuda_obstacle(int number = 0);
/// True when GPU 0, or the one in use, can be used.
bool cuda_available();
/// Makes GPU `number` the process's. Throws Error with cuda_obstacle(), and when another one is in use.
void use_cuda(int number);
/// Of the GPU in use: "NVIDIA H100 80GB HBM3"; empty without one.
std::string cuda_name();

/// Memory on the device, 64-byte aligned on the CPU, ordered with the stream on a GPU; throws OutOfMemory
/// when there is none left.
void* allocate(Device device, size_t bytes);
void release(Device device, void* memory, size_t bytes);
/// The same for memory that recorded launches hold on to (launch_graph.h): a GPU gives it at once instead of
/// in the stream's order, also while launches are recorded. What goes back waits for the GPU.
void* allocate_lasting(Device device, size_t bytes);
void release_lasting(Device device, void* memory, size_t bytes);

/// Bytes that the device's other users and this program's live blocks leave; 0 where the device does not say.
size_t free_bytes(Device device);

/// The source may change as soon as this returns; what comes from a GPU is there as soon as this returns. A
/// copy to a GPU is ordered with the stream.
void copy(Device to, void* dst, Device from, const void* src, size_t bytes);
void fill_bytes(Device device, void* memory, int byte, size_t bytes);

/// Waits until all work queued on the device has ended, and throws std::runtime_error if some of it failed.
/// Nothing to do on the CPU.
void synchronize(Device device);

/// The stream that every launch, copy and allocation goes to, a cudaStream_t; null without a GPU.
void* current_stream();

/// To be called after every launch: throws std::runtime_error naming the kernel (`signature` is the
/// __PRETTY_FUNCTION__ of a template over it) if it could not be launched. With ESPALIER_SYNC=1 waits for its
/// end, so that a fault is reported by the launch that made it.
void check_launch(const char* signature);

/// Threads that CPU kernels started by this thread use; 0 restores what the program began with, the machine's
/// count or OMP_NUM_THREADS. Also limits oneDNN, which shares the pool.
void set_threads(int count);
int threads();

/// So many threads for this thread's kernels while it lives.
class Threads {
 public:
  explicit Threads(int count) : before_(threads()) { set_threads(count); }
  ~Threads() { set_threads(before_); }
  Threads(const Threads&) = delete;

 private:
  int before_;
};

}  // namespace kernels
}  // namespace espalier
