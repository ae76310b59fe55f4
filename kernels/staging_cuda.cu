// Copies between any host memory and the GPU through a ring of pinned buffers: the host fills one while the
// GPU empties another.

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>

#include "kernels/device.h"
#include "kernels/device_cuda.h"

namespace espalier::kernels::cuda {

namespace {

constexpr size_t kBytes = size_t{4} << 20;
constexpr int kBuffers = 4;

cudaStream_t stream() { return static_cast<cudaStream_t>(current_stream()); }

struct Buffer {
  char* memory = nullptr;
  cudaEvent_t done = nullptr;  ///< the last copy that used it

  void wait() const { ESPALIER_CUDA_CHECK(cudaEventSynchronize(done)); }
};

struct Ring {
  std::mutex mutex;
  std::array<Buffer, kBuffers> buffers;
  int next = 0;

  /// The buffer that was used longest ago, free again.
  Buffer& take() {
    Buffer& b = buffers[next];
    next = (next + 1) % kBuffers;
    if (!b.memory) {
      current_gpu();  // whose the event will be
      ESPALIER_CUDA_CHECK(cudaMallocHost(&b.memory, kBytes));
      ESPALIER_CUDA_CHECK(cudaEventCreateWithFlags(&b.done, cudaEventDisableTiming));
    } else {
      b.wait();
    }
    return b;
  }
};

Ring& ring() {
  static auto* ring = new Ring;  // never destroyed: CUDA may be gone by then
  return *ring;
}

}  // namespace

void upload(void* to_gpu, const void* from_host, size_t bytes, void* on_stream) {
  refuse_recording();
  const cudaStream_t way = on_stream ? static_cast<cudaStream_t>(on_stream) : stream();
  const std::lock_guard lock(ring().mutex);
  for (size_t at = 0; at < bytes; at += kBytes) {
    const size_t part = std::min(kBytes, bytes - at);
    const Buffer& b = ring().take();
    std::memcpy(b.memory, static_cast<const char*>(from_host) + at, part);
    ESPALIER_CUDA_CHECK(
        cudaMemcpyAsync(static_cast<char*>(to_gpu) + at, b.memory, part, cudaMemcpyHostToDevice, way));
    ESPALIER_CUDA_CHECK(cudaEventRecord(b.done, way));
  }
}

void download(void* to_host, const void* from_gpu, size_t bytes) {
  refuse_recording();
  const std::lock_guard lock(ring().mutex);
  struct Part {
    const Buffer* buffer;
    size_t at, bytes;
  };
  std::array<Part, kBuffers> parts = {};
  size_t asked = 0, taken = 0, at = 0;
  const auto take_out = [&] {
    const Part& p = parts[taken++ % kBuffers];
    p.buffer->wait();
    std::memcpy(static_cast<char*>(to_host) + p.at, p.buffer->memory, p.bytes);
  };
  while (at < bytes) {
    if (asked - taken == kBuffers) take_out();
    const size_t part = std::min(kBytes, bytes - at);
    const Buffer& b = ring().take();
    ESPALIER_CUDA_CHECK(cudaMemcpyAsync(b.memory, static_cast<const char*>(from_gpu) + at, part,
                                        cudaMemcpyDeviceToHost, stream()));
    ESPALIER_CUDA_CHECK(cudaEventRecord(b.done, stream()));
    parts[asked++ % kBuffers] = {&b, at, part};
    at += part;
  }
  while (taken < asked) take_out();
}

}  // namespace espalier::kernels::cuda
