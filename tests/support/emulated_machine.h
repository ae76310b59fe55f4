#pragma once
// What a dispatcher of tile loops runs on in the tests: launches become emulated blocks.

#include <deque>
#include <limits>
#include <stdexcept>
#include <vector>

#include "support/emulator.h"

namespace espalier::test {

/// Bytes of shared memory that a block may have.
constexpr int64_t kConsumersBlock = 99 * 1024, kHoppersBlock = 227 * 1024;

struct EmulatedMachine {
  Schedule schedule = Schedule::kForwardLate;
  std::deque<std::vector<float>> buffers = {};
  int launches = 0;
  AccessProfile* profile = nullptr;
  int64_t shared_memory_of_block = kConsumersBlock;  ///< which is what all loops but Hopper's run in

  template <class Kernel>
  bool fits() const {
    return Kernel::kSharedBytes <= shared_memory_of_block;
  }
  template <class Kernel>
  void launch(const Kernel& kernel, int64_t blocks, int64_t parts) {
    ++launches;
    if (!fits<Kernel>()) throw std::runtime_error("a block asks for more shared memory than there is");
    emulate({.grid = {static_cast<int>(blocks), 1, static_cast<int>(parts)},
             .threads = Kernel::kThreads,
             .shared_bytes = Kernel::kSharedBytes,
             .profile = profile},
            schedule, [&] { kernel(); });
  }
  float* scratch(int64_t floats) {
    constexpr uintptr_t kAlignment = 256;  // as a GPU's memory
    buffers.emplace_back(static_cast<size_t>(floats) + kAlignment / sizeof(float),
                         std::numeric_limits<float>::quiet_NaN());
    const auto at = reinterpret_cast<uintptr_t>(buffers.back().data());
    return reinterpret_cast<float*>((at + kAlignment - 1) / kAlignment * kAlignment);
  }
  template <class Body>
  void for_each_row(int64_t rows, int channels, const Body& body) {
    constexpr int kTile = 4;
    for (int64_t row = 0; row < rows; ++row)
      for (int c = 0; c < channels; c += kTile)
        body.template tile<kTile>(row, c, channels - c < kTile ? channels - c : kTile);
  }
};

/// For its own loops, and for those that ask whether a block may have so much.
inline EmulatedMachine hopper(Schedule schedule = Schedule::kForwardLate) {
  return {.schedule = schedule, .shared_memory_of_block = kHoppersBlock};
}

}  // namespace espalier::test
