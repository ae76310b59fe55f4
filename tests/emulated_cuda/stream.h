#pragma once
// Streams as the emulated CUDA keeps them: work is queued as a closure and done when it is waited for, in the
// thread that waits. One mutex is over all of it.

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cuda_runtime.h"

namespace espalier::emulated_cuda {

struct Work {
  const char* name;
  std::function<void()> run;
};

struct Graph {
  std::vector<Work> works;
};

struct ExecutableGraph {
  std::shared_ptr<const Graph> graph;  ///< launches that are still queued hold it as well
};

struct Stream {
  int card;
  bool is_first;
  std::deque<Work> queue = {};
  uint64_t queued = 0, done = 0;
  std::unique_ptr<Graph> captured = {};  ///< while it captures
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id capturing_thread = {};
  bool invalidated = false;
};

struct Event {
  int card;
  bool times;
  Stream* stream = nullptr;
  uint64_t recorded = 0;  ///< the stream's work up to it
};

std::recursive_mutex& mutex();
using Lock = std::lock_guard<std::recursive_mutex>;

/// The thread's.
int& current_card();

/// What a call returns: the fault that nothing recovers from, if there is one, else `error`, which becomes
/// the thread's last.
cudaError_t said(cudaError_t error);
/// Gives the thread's last error and forgets it.
cudaError_t take_last_error();

/// To the stream's queue, or to what it captures.
cudaError_t queue(Stream& stream, const char* name, std::function<void()> run);
/// Does a stream's work up to a count.
void work_off(Stream& stream, uint64_t until);
/// As cudaMalloc() and its like do.
void wait_for_all();

/// The capture that forbids this thread what cannot be captured, or null.
Stream* forbidding();
/// Ends it.
cudaError_t refused_in(Stream& capturing);

}  // namespace espalier::emulated_cuda
