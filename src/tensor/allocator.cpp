#include "tensor/allocator.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "base/error.h"
#include "kernels/launch_graph.h"

namespace espalier::allocator {

namespace {

struct Pool {
  std::mutex mutex;
  std::multimap<size_t, void*> free;
  MemoryStatistics statistics;
};

Pool& pool(Device device) {
  static auto* pools = new Pool[2];  // never destroyed: tensors may outlive static storage
  return pools[static_cast<int>(device)];
}

/// Sizes in steps of an eighth of their power of two, so that near-equal requests share blocks.
size_t rounded(size_t bytes) {
  if (bytes <= 256) return 256;
  const size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

void* from_device(Pool& p, Device device, size_t size) {
  ++p.statistics.system_calls;
  try {
    return kernels::allocate(device, size);
  } catch (const Error&) {
    if (p.free.empty()) throw;
    for (auto& [bytes, memory] : p.free) kernels::release(device, memory, bytes);
    p.free.clear();
    p.statistics.cached = 0;
    return kernels::allocate(device, size);
  }
}

}  // namespace

void* take(Device device, size_t bytes, size_t* granted) {
  kernels::refuse_recording(device);
  Pool& p = pool(device);
  size_t size = rounded(bytes);
  const std::lock_guard lock(p.mutex);
  // Best fit; a block more than a quarter too large is left for a request of its own size.
  const auto found = p.free.lower_bound(size);
  void* memory;
  if (found != p.free.end() && found->first <= size + size / 4) {
    size = found->first;
    memory = found->second;
    p.free.erase(found);
    p.statistics.cached -= static_cast<int64_t>(size);
  } else {
    memory = from_device(p, device, size);
  }
  p.statistics.in_use += static_cast<int64_t>(size);
  p.statistics.peak = std::max(p.statistics.peak, p.statistics.in_use);
  *granted = size;
  return memory;
}

void give_back(Device device, void* memory, size_t granted) {
  Pool& p = pool(device);
  const std::lock_guard lock(p.mutex);
  p.free.emplace(granted, memory);
  p.statistics.in_use -= static_cast<int64_t>(granted);
  p.statistics.cached += static_cast<int64_t>(granted);
}

MemoryStatistics statistics(Device device) {
  Pool& p = pool(device);
  const std::lock_guard lock(p.mutex);
  return p.statistics;
}

void reset_peak(Device device) {
  Pool& p = pool(device);
  const std::lock_guard lock(p.mutex);
  p.statistics.peak = p.statistics.in_use;
}

void release_cached(Device device) {
  Pool& p = pool(device);
  const std::lock_guard lock(p.mutex);
  for (auto& [bytes, memory] : p.free) kernels::release(device, memory, bytes);
  p.free.clear();
  p.statistics.cached = 0;
#ifdef __GLIBC__
  if (device == Device::kCpu)
    malloc_trim(0);  // what lies between live blocks stays with the process otherwise
#endif
}

}  // namespace espalier::allocator
