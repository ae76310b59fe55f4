#pragma once

#include "kernels/conv_shape.h"
#include "kernels/device.h"

namespace espalier::kernels {

/// y[n,p,q,c] = largest x of the window; shape.R and S are the window, shape.K == C. Padded places never win.
/// The gradient goes to the first largest one in row order.
void max_pool_forward(Device device, const ConvShape& shape, const float* x, float* y);

/// dx by gathering: each input asks the windows that hold it whether it was their first largest.
void max_pool_backward(Device device, const ConvShape& shape, const float* x, const float* dy, float* dx);

}  // namespace espalier::kernels
