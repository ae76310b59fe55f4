#pragma once
// Threads that run a chain of kernels together inside one parallel region: waking them once per kernel would
// cost as much as the small kernels themselves.

#include <atomic>
#include <cstdint>

namespace espalier::kernels {

/// Where the threads of a team meet. Spins first, because the others are a microsecond away, then gives the
/// core to whoever else wants it.
class Barrier {
 public:
  void wait(int threads);

 private:
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> round_{0};
};

/// One thread's view of its team.
struct Team {
  int thread = 0, threads = 1;
  Barrier* barrier = nullptr;  ///< null if the team is one thread

  /// Returns when every thread of the team has called it.
  void wait() const {
    if (threads > 1) barrier->wait(threads);
  }
};

/// A half-open range of work items.
struct Share {
  int first, last;

  Share(int first, int last) : first(first), last(last) {}
  /// What one of `threads` takes of `count` items: nearly equal ranges in order.
  Share(int count, int thread, int threads)
      : first(static_cast<int>(int64_t{count} * thread / threads)),
        last(static_cast<int>(int64_t{count} * (thread + 1) / threads)) {}
  int count() const { return last - first; }
};

}  // namespace espalier::kernels
