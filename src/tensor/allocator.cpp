#include "tensor/allocator.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "base/error.h"
#include "kernels/exact_blocks.h"
#include "kernels/launch_graph.h"

namespace espalier::allocator {

/// See OwnBlocks. Guarded by the device's Pool::mutex.
struct Blocks {
  Device device;
  std::multimap<size_t, void*> free;
  bool closed = false;  ///< nobody takes from here any more
};

namespace {

struct Pool {
  std::mutex mutex;
  std::multimap<size_t, void*> free;
  std::unordered_map<void*, std::shared_ptr<Blocks>> owners;  ///< of blocks that go back elsewhere
  MemoryStatistics statistics;
};

thread_local std::shared_ptr<Blocks> own;  ///< what this thread takes from; null: everybody's

Pool& pool(Device device) {
  static auto* pools = new Pool[2];  // never destroyed: tensors may outlive static storage
  return pools[static_cast<int>(device)];
}

/// Sizes in steps of an eighth of their power of two, so that near-equal requests share blocks.
size_t rounded(size_t bytes) {
  if (kernels::exact_blocks()) return std::max<size_t>(bytes, 1);
  if (bytes <= 256) return 256;
  const size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

void release_free(Pool& p, Device device) {
  for (auto& [bytes, memory] : p.free) {
    kernels::release(device, memory, bytes);
    p.statistics.cached -= static_cast<int64_t>(bytes);
  }
  p.free.clear();
}

/// A block from the device, `ask` being one of its ways to give it; once more without what is kept for reuse.
template <class Ask>
void* from_device(Pool& p, Device device, size_t size, const Ask& ask) {
  ++p.statistics.system_calls;
  try {
    return ask(device, size);
  } catch (const Error&) {
    if (p.free.empty() || kernels::recording(device)) throw;
    release_free(p, device);
    return ask(device, size);
  }
}

}  // namespace

void* take(Device device, size_t bytes, size_t* granted) {
  Blocks* const blocks = own && own->device == device ? own.get() : nullptr;
  if (!blocks) kernels::refuse_recording(device);
  Pool& p = pool(device);
  size_t size = rounded(bytes);
  const std::lock_guard lock(p.mutex);
  // Best fit; a block more than a quarter too large is left for a request of its own size.
  const size_t most = kernels::exact_blocks() ? size : size + size / 4;
  std::multimap<size_t, void*>& free = blocks ? blocks->free : p.free;
  const auto found = free.lower_bound(size);
  void* memory;
  if (found != free.end() && found->first <= most) {
    size = found->first;
    memory = found->second;
    free.erase(found);
    p.statistics.cached -= static_cast<int64_t>(size);
  } else if (blocks) {
    memory = from_device(p, device, size, kernels::allocate_lasting);
    p.owners[memory] = own;
  } else {
    memory = from_device(p, device, size, kernels::allocate);
  }
  p.statistics.in_use += static_cast<int64_t>(size);
  p.statistics.peak = std::max(p.statistics.peak, p.statistics.in_use);
  *granted = size;
  return memory;
}

void give_back(Device device, void* memory, size_t granted) {
  Pool& p = pool(device);
  const std::lock_guard lock(p.mutex);
  p.statistics.in_use -= static_cast<int64_t>(granted);
  const auto owner = p.owners.empty() ? p.owners.end() : p.owners.find(memory);
  if (owner != p.owners.end() && owner->second->closed) {
    p.owners.erase(owner);
    return kernels::release_lasting(device, memory, granted);
  }
  if (owner == p.owners.end() && kernels::exact_blocks() && !kernels::recording(device))
    return kernels::release(device, memory, granted);
  (owner == p.owners.end() ? p.free : owner->second->free).emplace(granted, memory);
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
  release_free(p, device);
#ifdef __GLIBC__
  if (device == Device::kCpu)
    malloc_trim(0);  // what lies between live blocks stays with the process otherwise
#endif
}

OwnBlocks::OwnBlocks(Device device) : blocks_(std::make_shared<Blocks>(Blocks{device, {}})) {}

OwnBlocks::~OwnBlocks() {
  Pool& p = pool(blocks_->device);
  const std::lock_guard lock(p.mutex);
  blocks_->closed = true;
  for (auto& [bytes, memory] : blocks_->free) {
    p.owners.erase(memory);
    p.statistics.cached -= static_cast<int64_t>(bytes);
    kernels::release_lasting(blocks_->device, memory, bytes);
  }
  blocks_->free.clear();
}

OwnBlocks::Scope::Scope(const OwnBlocks& blocks) : outer_(std::exchange(own, blocks.blocks_)) {}
OwnBlocks::Scope::~Scope() { own = std::move(outer_); }

CommonBlocks::CommonBlocks() : outer_(std::exchange(own, nullptr)) {}
CommonBlocks::~CommonBlocks() { own = std::move(outer_); }

}  // namespace espalier::allocator
