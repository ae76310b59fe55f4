#pragma once
// The formula of the golden files: every weight, input and label from a name (golden/README.md of the shared
// data).

#include <cstdint>
#include <string>
#include <vector>

#include "ops/ops.h"

namespace espalier::test {

/// `count` doubles in [0, 1): splitmix64 of the counter under the key FNV-1a64(name) xor seed *
/// 0x9E3779B97F4A7C15.
std::vector<double> uniform(const std::string& name, int64_t count, uint64_t seed);

/// Boxes of the YOLO loss as [batch,count,6], see yolo_loss() in ops.h; the last two of each image are
/// padding.
std::vector<float> golden_boxes(int batch, int count, int classes, uint64_t seed);

/// The n-th head's part in the loss of the golden files; the first is the coarsest.
YoloLossOptions golden_head(int n, int classes);

/// The path of a golden file: in $ESPALIER_GOLDEN, by default in the shared data.
std::string golden_file(const std::string& name);

}  // namespace espalier::test
