#include "kernels/launch_graph.h"

#ifndef ESPALIER_HAS_CUDA

namespace espalier::kernels {

LaunchGraph::~LaunchGraph() = default;
void refuse_recording(Device) {}
void LaunchGraph::run(const std::function<void()>& work) { work(); }

}  // namespace espalier::kernels

#endif
