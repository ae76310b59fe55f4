#pragma once
// Runs a hand-written kernel on the host: every thread of a block is a fibre, one block after the other. See
// kernels/warp.h.

#include <functional>
#include <vector>

#include "kernels/warp.h"
#include "support/access_check.h"
#include "support/access_profile.h"

namespace espalier::test {

struct EmulatedLaunch {
  kernels::warp::Block grid = {1, 1, 1};
  int threads = 32;
  int shared_bytes = 0;
  AccessProfile* profile = nullptr;   ///< counts its accesses, or none
  std::vector<Range> reachable = {};  ///< beside shared memory; empty: everything
};

/// How the emulator takes its freedoms; a kernel without races gives the same bits with all of them.
enum class Schedule {
  /// Threads in order; an asynchronous copy happens when it is waited for, a group's product at once.
  kForwardLate,
  /// Threads in reverse order; a copy happens at once, a product when it is waited for.
  kBackwardEarly
};

/// Calls `kernel` once for every thread. Shared memory begins as NaN. Throws std::runtime_error where threads
/// wait for each other for ever, where an access is not aligned to its size, and where accesses to memory
/// depend on the order of threads (access_check.h).
void emulate(const EmulatedLaunch& launch, Schedule schedule, const std::function<void()>& kernel);

/// Calls `item` for each of so many, one after the other, watched as if each were a thread and none waited
/// for another.
void emulate_items(int64_t count, Schedule schedule, const std::vector<Range>& reachable,
                   const std::function<void(int64_t)>& item);

/// Of memory that no launch will access any more: what the checks keep of it is sixteen times as large.
void forget_accesses(const Range& memory);

}  // namespace espalier::test
