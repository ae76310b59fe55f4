#include "passes/prepare_for_training.h"

#include "kernels/precision.h"
#include "passes/fuse_training.h"
#include "passes/spread_batch_norms.h"
#include "passes/store_bf16.h"

namespace espalier {

void prepare_for_training(Graph& graph, Device device) {
  fuse_training(graph);
  spread_batch_norms(graph, device);
  if (device != Device::kCpu && kernels::precision() == kernels::Precision::kBf16) store_bf16(graph);
}

}  // namespace espalier
