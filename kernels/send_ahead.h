#pragma once
// A batch on its way to the GPU while the GPU is at work.

#include <cstddef>

#include "kernels/device.h"

namespace espalier::kernels {

/// A place on the GPU that fills by a stream of its own: what is sent does not wait for the step that runs,
/// nor that step for it.
class SendAhead {
 public:
  explicit SendAhead(Device device);
  ~SendAhead();
  SendAhead(const SendAhead&) = delete;

  /// Starts to send from the host and returns where the bytes will lie; the source may change as soon as this
  /// returns. What is launched from here on finds them there, until the next send(). On the CPU it is the
  /// source itself. Throws OutOfMemory.
  const void* send(const void* from, size_t bytes);
  /// What was launched so far is all that reads them: the next send() waits for that, and for nothing later.
  void taken();

 private:
  Device device_;
  void* memory_ = nullptr;
  size_t capacity_ = 0;
  bool taken_ = false;                            ///< since the last send()
  void *arrived_ = nullptr, *readers_ = nullptr;  ///< cudaEvent_t: the bytes are there; they have been read
};

}  // namespace espalier::kernels
