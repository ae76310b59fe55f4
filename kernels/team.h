#pragma once
// Threads that run a chain of kernels together inside one parallel region: waking them once per kernel would
// cost as much as the small kernels themselves.

#include <atomic>
#include <cstdint>
#include <memory>

namespace espalier::kernels {

/// One share of a kernel's work: number `thread` of `threads`, in step `step` of the kernel.
struct Team {
  int thread = 0, threads = 1;
  int step = 0;
};

/// Where the items begin that one of `threads` takes of `count`: nearly equal ranges in order.
constexpr int64_t begin_of_share(int64_t count, int thread, int threads) { return count * thread / threads; }

/// A half-open range of work items.
struct Share {
  int first, last;

  Share(int first, int last) : first(first), last(last) {}
  Share(int count, int thread, int threads)
      : first(static_cast<int>(begin_of_share(count, thread, threads))),
        last(static_cast<int>(begin_of_share(count, thread + 1, threads))) {}
  int count() const { return last - first; }
};

/// Steps of as many shares as there are threads; a step begins when all shares of the one before have ended.
/// Every thread takes its own share first, whose data is in its cache, and then any that nobody has begun: on
/// a busy machine a thread without a core holds nobody up.
class Relay {
 public:
  /// Before the threads start. Allocates only when `threads` grows.
  void reset(int threads);

  /// Called by every thread. body(step, share) runs each share once; ended(step) runs once after each step.
  template <class Body, class Ended>
  void run(int thread, int steps, const Body& body, const Ended& ended) {
    for (int step = 0; step < steps; step = next(step)) {
      for (int i = 0; i < threads_; ++i) {
        const int share = thread + i < threads_ ? thread + i : thread + i - threads_;
        if (!claim(share, step)) continue;
        body(step, share);
        if (!last_of(step)) continue;
        ended(step);
        release(step);
      }
    }
  }

 private:
  bool claim(int share, int step);
  bool last_of(int step);
  void release(int step);
  int next(int step);  ///< waits for the end of the step; returns the one that runs now

  struct alignas(64) Slot {
    std::atomic<int> claimed{0};  ///< steps whose share somebody has begun
  };
  int threads_ = 0, room_ = 0;
  std::unique_ptr<Slot[]> slots_;
  alignas(64) std::atomic<int> ended_{0};  ///< shares, of all steps
  alignas(64) std::atomic<int> step_{0};
};

}  // namespace espalier::kernels
