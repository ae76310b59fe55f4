#pragma once

#include "kernels/resize.h"

namespace espalier::kernels::cpu {

/// As in resize.h, a line at a time, the channels in vectors.
void resize_forward(const ResizeShape& shape, const float* x, float* y);
void resize_backward(const ResizeShape& shape, const float* dy, float* dx);

}  // namespace espalier::kernels::cpu
