#pragma once
// Many launches as one.

#include <cstdint>
#include <functional>

#include "kernels/device.h"

namespace espalier::kernels {

/// Work that launches the same kernels on the same memory again and again. On a GPU its launches are recorded
/// as a CUDA graph and started in one; ESPALIER_GRAPHS=off and ESPALIER_SYNC=1 turn that off.
class LaunchGraph {
 public:
  LaunchGraph() = default;
  ~LaunchGraph();
  LaunchGraph(const LaunchGraph&) = delete;
  LaunchGraph& operator=(const LaunchGraph&) = delete;

  /// Does the work: plainly the first time, when kernels are chosen and memory is taken; recorded the second
  /// time, and replayed from then on. Work that copies between host and GPU, asks the GPU for memory or waits
  /// for it cannot be recorded and stays plain. Memory that went back to the GPU since makes it begin again.
  /// `recorded`, if given, runs after a recording and before its first replay. On the CPU: work().
  void run(const std::function<void()>& work, const std::function<void()>& recorded = {});

  bool recorded() const { return executable_ != nullptr; }

 private:
  bool record(const std::function<void()>& work);
  void forget();

  void* executable_ = nullptr;  ///< a cudaGraphExec_t
  uint64_t releases_ = 0;       ///< of memory, at the recording
  bool warm_ = false, plain_ = false;
};

/// Throws while launches are recorded: GPU memory taken then would be written by every replay, whoever has it
/// by that time. For allocators.
void refuse_recording(Device device);
/// True while launches on the device are recorded.
bool recording(Device device);

}  // namespace espalier::kernels
