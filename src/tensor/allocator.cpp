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
#include "kernels/reserve.h"

namespace espalier::allocator {

/// See OwnBlocks. Guarded by the device's Pool::mutex.
struct Blocks {
  Device device;
  std::multimap<size_t, void*> free;
  bool closed = false;  ///< nobody takes from here any more
};

namespace {

struct Block {
  void* memory;
  size_t bytes;
};

struct Pool {
  std::mutex mutex;
  std::multimap<size_t, void*> free;
  std::unordered_map<void*, std::shared_ptr<Blocks>> owners;  ///< of blocks that go back elsewhere
  MemoryStatistics statistics;
};

thread_local std::shared_ptr<Blocks> own;  ///< what this thread takes from; null: everybody's

bool give_back_free(Device device);

Pool& pool(Device device) {
  static auto* pools = [] {
    kernels::set_reserve(give_back_free);
    return new Pool[2];  // never destroyed: tensors may outlive static storage
  }();
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

/// For a device that has no memory left. False where nothing is kept.
bool give_back_free(Device device) {
  Pool& p = pool(device);
  const std::lock_guard lock(p.mutex);
  if (p.free.empty()) return false;
  release_free(p, device);
  return true;
}

/// Of the free blocks the smallest that takes `size` bytes and is not too large for that; none: false.
bool take_free(Pool& p, std::multimap<size_t, void*>& free, size_t size, Block* block) {
  // One more than a quarter too large is left for a request of its own size.
  const size_t most = kernels::exact_blocks() ? size : size + size / 4;
  const auto found = free.lower_bound(size);
  if (found == free.end() || found->first > most) return false;
  *block = {found->second, found->first};
  free.erase(found);
  p.statistics.cached -= static_cast<int64_t>(block->bytes);
  return true;
}

}  // namespace

void* take(Device device, size_t bytes, size_t* granted) {
  Blocks* const blocks = own && own->device == device ? own.get() : nullptr;
  if (!blocks) kernels::refuse_recording(device);
  Pool& p = pool(device);
  Block block{nullptr, rounded(bytes)};
  std::unique_lock lock(p.mutex);
  if (!take_free(p, blocks ? blocks->free : p.free, block.bytes, &block)) {
    ++p.statistics.system_calls;
    lock.unlock();  // a device without memory asks for what is free here
    block.memory = (blocks ? kernels::allocate_lasting : kernels::allocate)(device, block.bytes);
    lock.lock();
    if (blocks) p.owners[block.memory] = own;
  }
  p.statistics.in_use += static_cast<int64_t>(block.bytes);
  p.statistics.peak = std::max(p.statistics.peak, p.statistics.in_use);
  *granted = block.bytes;
  return block.memory;
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
