#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace espalier {

/// The tensor whose position i of an axis is position positions[i] of `from`, or zeros where that is -1. On
/// the device of `from`; without data where that has none.
Tensor take(const Tensor& from, int axis, const std::vector<int>& positions);

}  // namespace espalier
