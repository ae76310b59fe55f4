#pragma once
// A few bytes on their way from a device to the host, while the host queues further work.

#include <cstddef>

#include "kernels/device.h"

namespace espalier::kernels {

class ReadBack {
 public:
  ReadBack(Device device, size_t bytes);
  ~ReadBack();
  ReadBack(const ReadBack&) = delete;

  /// Queues the copy of what the work queued so far leaves at `from`.
  void start(const void* from);
  /// Waits for that copy, and for nothing that was queued after it. What it brought stays until the next
  /// start(); on the CPU it is the source itself. Throws std::runtime_error if the work before it failed.
  const void* wait();

 private:
  Device device_;
  size_t bytes_;
  const void* arrived_ = nullptr;
  void *pinned_ = nullptr, *done_ = nullptr;  ///< of a GPU: host memory, and a cudaEvent_t
};

}  // namespace espalier::kernels
