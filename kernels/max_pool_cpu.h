#pragma once

#include "kernels/conv_shape.h"

namespace espalier::kernels::cpu {

/// As in max_pool.h, the channels in vectors. They return false for shapes that the shared body must do:
/// backward, windows that overlap.
bool max_pool_forward(const ConvShape& shape, const float* x, float* y);
bool max_pool_backward(const ConvShape& shape, const float* x, const float* dy, float* dx);

}  // namespace espalier::kernels::cpu
