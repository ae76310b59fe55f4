#include "kernels/read_back.h"

#include "kernels/device_cuda.h"

namespace espalier::kernels {

ReadBack::ReadBack(Device device, size_t bytes) : device_(device), bytes_(bytes) {}

#ifndef ESPALIER_HAS_CUDA

ReadBack::~ReadBack() = default;
void ReadBack::start(const void* from) { arrived_ = from; }
const void* ReadBack::wait() { return arrived_; }

#else

// Not checked: after a fault every call fails, and destructors must not throw.
ReadBack::~ReadBack() {
  if (done_) cudaEventDestroy(static_cast<cudaEvent_t>(done_));
  if (pinned_) cudaFreeHost(pinned_);
}

void ReadBack::start(const void* from) {
  arrived_ = from;
  if (device_ == Device::kCpu) return;
  const auto stream = static_cast<cudaStream_t>(current_stream());
  if (!pinned_) ESPALIER_CUDA_CHECK(cudaMallocHost(&pinned_, bytes_));
  if (!done_) {
    cudaEvent_t event = nullptr;
    ESPALIER_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    done_ = event;
  }
  ESPALIER_CUDA_CHECK(cudaMemcpyAsync(pinned_, from, bytes_, cudaMemcpyDeviceToHost, stream));
  ESPALIER_CUDA_CHECK(cudaEventRecord(static_cast<cudaEvent_t>(done_), stream));
  arrived_ = pinned_;
}

const void* ReadBack::wait() {
  if (device_ != Device::kCpu) ESPALIER_CUDA_CHECK(cudaEventSynchronize(static_cast<cudaEvent_t>(done_)));
  return arrived_;
}

#endif

}  // namespace espalier::kernels
