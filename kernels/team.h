#pragma once
// Threads that run a chain of kernels together inside one parallel region: waking them once per kernel would
// cost as much as the small kernels themselves.

#include <atomic>

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

/// The half-open range [first, last) of `count` items that one thread takes: equal shares in order, each a
/// multiple of `step` but the last.
struct Share {
  int first, last;
  Share(int count, int thread, int threads, int step = 1) {
    const long long steps = (count + step - 1) / step;
    first = static_cast<int>(steps * thread / threads) * step;
    last = static_cast<int>(steps * (thread + 1) / threads) * step;
    if (last > count) last = count;
    if (first > count) first = count;
  }
};

}  // namespace espalier::kernels
