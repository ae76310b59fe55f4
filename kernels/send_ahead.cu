#include "kernels/send_ahead.h"

#include "kernels/device_cuda.h"

namespace espalier::kernels {

SendAhead::SendAhead(Device device) : device_(device) {}

#ifndef ESPALIER_HAS_CUDA

SendAhead::~SendAhead() = default;
const void* SendAhead::send(const void* from, size_t) { return from; }
void SendAhead::taken() {}

#else

namespace {

cudaStream_t stream() { return static_cast<cudaStream_t>(current_stream()); }

/// The other one, of the process.
cudaStream_t ahead() {
  static const cudaStream_t made = [] {
    stream();  // whose GPU it will be
    cudaStream_t s = nullptr;
    ESPALIER_CUDA_CHECK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    return s;
  }();
  return made;
}

cudaEvent_t event(void*& made) {
  if (!made) {
    cudaEvent_t fresh = nullptr;
    ESPALIER_CUDA_CHECK(cudaEventCreateWithFlags(&fresh, cudaEventDisableTiming));
    made = fresh;
  }
  return static_cast<cudaEvent_t>(made);
}

}  // namespace

// Not checked: after a fault every call fails, and destructors must not throw.
SendAhead::~SendAhead() {
  for (void* made : {arrived_, readers_})
    if (made) cudaEventDestroy(static_cast<cudaEvent_t>(made));
  // The stream waits for each copy before it goes on, so that this comes after all of them.
  if (memory_) release(device_, memory_, capacity_);
}

const void* SendAhead::send(const void* from, size_t bytes) {
  if (device_ == Device::kCpu) return from;
  cuda::refuse_recording();
  if (bytes > capacity_) {
    if (memory_) release(device_, memory_, capacity_);
    memory_ = nullptr;
    capacity_ = 0;
    memory_ = allocate(device_, bytes);
    capacity_ = bytes;
    taken_ = false;  // it is there when the stream comes to it, which `readers_` waits for too
  }
  if (!taken_) taken();
  ESPALIER_CUDA_CHECK(cudaStreamWaitEvent(ahead(), event(readers_), 0));
  cuda::upload(memory_, from, bytes, ahead());
  ESPALIER_CUDA_CHECK(cudaEventRecord(event(arrived_), ahead()));
  ESPALIER_CUDA_CHECK(cudaStreamWaitEvent(stream(), event(arrived_), 0));
  taken_ = false;
  return memory_;
}

void SendAhead::taken() {
  if (device_ == Device::kCpu) return;
  ESPALIER_CUDA_CHECK(cudaEventRecord(event(readers_), stream()));
  taken_ = true;
}

#endif

}  // namespace espalier::kernels
