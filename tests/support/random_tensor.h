#pragma once

#include "tensor/tensor.h"

namespace espalier::test {

/// Normal values of deviation 1, a function of shape and seed alone.
Tensor random_tensor(const Shape& shape, Device device = Device::kCpu, uint64_t seed = 1);

}  // namespace espalier::test
