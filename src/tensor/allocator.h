#pragma once
// Keeps freed blocks and hands them out again: on a training step's steady shapes nothing reaches the system,
// and no page is faulted in twice.

#include <cstddef>
#include <cstdint>

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

}  // namespace allocator
}  // namespace espalier
