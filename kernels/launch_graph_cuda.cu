#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "kernels/device.h"
#include "kernels/device_cuda.h"
#include "kernels/launch_graph.h"

namespace espalier::kernels {

namespace {

bool switched_off() {
  static const bool off = [] {
    const char* value = std::getenv("ESPALIER_GRAPHS");
    if (!value || !*value) return cuda::waits_after_launches();
    ESPALIER_CHECK(!std::strcmp(value, "off"), "ESPALIER_GRAPHS is '", value,
                   "'; 'off' launches every kernel by itself, unset it to record them");
    return true;
  }();
  return off;
}

cudaStream_t stream() { return static_cast<cudaStream_t>(current_stream()); }

}  // namespace

void refuse_recording(Device device) {
  if (device == Device::kCuda) cuda::refuse_recording();
}

bool recording(Device device) { return device == Device::kCuda && cuda::recording(); }

LaunchGraph::~LaunchGraph() { forget(); }

void LaunchGraph::forget() {
  if (executable_) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_));
  executable_ = nullptr;
}

void LaunchGraph::run(const std::function<void()>& work, const std::function<void()>& recorded) {
  if (executable_ && releases_ != cuda::releases()) {
    forget();
    warm_ = false;
  }
  if (!executable_) {
    if (switched_off() || plain_ || !warm_) {
      work();
      warm_ = true;
      return;
    }
    if (!record(work)) {
      plain_ = true;
      return work();
    }
    if (recorded) recorded();
  }
  ESPALIER_CUDA_CHECK(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_), stream()));
  check_launch("recorded launches");
}

bool LaunchGraph::record(const std::function<void()>& work) {
  const uint64_t releases = cuda::releases();
  ESPALIER_CUDA_CHECK(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal));
  cudaGraph_t graph = nullptr;
  bool recordable = true;
  cuda::set_recording(true);
  const auto end = [&] {
    cuda::set_recording(false);
    const cudaError_t status = cudaStreamEndCapture(stream(), &graph);
    cudaGetLastError();
    return status == cudaSuccess && graph;
  };
  try {
    work();
  } catch (...) {
    recordable = false;  // what was wrong with the work itself shows when it runs plainly
  }
  cudaGraphExec_t made = nullptr;
  if (end() && recordable && cudaGraphInstantiate(&made, graph, 0) != cudaSuccess) {
    cudaGetLastError();
    made = nullptr;
  }
  if (graph) cudaGraphDestroy(graph);
  executable_ = made;
  releases_ = releases;
  return made != nullptr;
}

}  // namespace espalier::kernels
