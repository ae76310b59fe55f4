#include "kernels/launch_graph.h"

#ifndef ESPALIER_HAS_CUDA

namespace espalier::kernels {

LaunchGraph::~LaunchGraph() = default;
void refuse_recording(Device) {}
bool recording(Device) { return false; }
void LaunchGraph::run(const std::function<void()>& work, const std::function<void()>&) { work(); }

}  // namespace espalier::kernels

#endif
