#pragma once
// Keeps freed blocks and hands them out again: on a training step's steady shapes nothing reaches the system,
// and no page is faulted in twice.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/device.h"

namespace espalier {

struct MemoryStatistics {
  int64_t in_use = 0;        ///< bytes of live blocks
  int64_t peak = 0;          ///< largest in_use since the start or reset_peak()
  int64_t cached = 0;        ///< bytes kept for reuse
  int64_t system_calls = 0;  ///< blocks asked from the device; constant in a steady state
};

namespace allocator {

/// A block of at least `bytes`; *granted is its true size, to be passed to give_back(). Thread-safe.
void* take(Device device, size_t bytes, size_t* granted);
void give_back(Device device, void* memory, size_t granted);

MemoryStatistics statistics(Device device);
void reset_peak(Device device);
void release_cached(Device device);  ///< returns every kept block to the device

struct Blocks;

/// Blocks of its own for work whose launches are recorded (kernels/launch_graph.h): a replay writes where the
/// recording did, so nobody else may have that memory in between. Pieces of work that never overlap, as the
/// steps of one training at several picture sizes, share one.
class OwnBlocks {
 public:
  explicit OwnBlocks(Device device);
  /// Returns the blocks to the device; those still in use follow when they are given back.
  ~OwnBlocks();
  OwnBlocks(const OwnBlocks&) = delete;

  /// While one lives on this thread, what it takes on the device comes from here. Blocks know where they go.
  class Scope {
   public:
    explicit Scope(const OwnBlocks& blocks);
    ~Scope();
    Scope(const Scope&) = delete;

   private:
    std::shared_ptr<Blocks> outer_;
  };

 private:
  std::shared_ptr<Blocks> blocks_;
};

/// Within a Scope: takes from everybody's blocks, for what is to outlive the recorded work.
class CommonBlocks {
 public:
  CommonBlocks();
  ~CommonBlocks();
  CommonBlocks(const CommonBlocks&) = delete;

 private:
  std::shared_ptr<Blocks> outer_;
};

}  // namespace allocator
}  // namespace espalier
