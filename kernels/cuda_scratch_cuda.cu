#include "kernels/cuda_scratch.h"

#include <map>
#include <mutex>

#include "kernels/device.h"

namespace espalier::kernels::cuda {

namespace {
struct Buffer {
  float* memory = nullptr;
  int64_t floats = 0;
};
}  // namespace

float* scratch(ScratchUse use, int64_t floats) {
  static std::mutex mutex;
  static std::map<std::pair<void*, ScratchUse>, Buffer> buffers;
  const std::lock_guard lock(mutex);
  Buffer& buffer = buffers[{current_stream(), use}];
  if (buffer.floats < floats) {
    // Small buffers grow by half, because those that grew stay alive; large ones are what a network's largest
    // layer needs.
    constexpr int64_t kLarge = 8 << 20;
    const int64_t size = floats < kLarge ? floats + floats / 2 : floats;
    buffer.memory = static_cast<float*>(allocate(Device::kCuda, static_cast<size_t>(size) * sizeof(float)));
    buffer.floats = size;
  }
  return buffer.memory;
}

}  // namespace espalier::kernels::cuda
