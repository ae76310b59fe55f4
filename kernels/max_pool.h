#pragma once

#include "kernels/bf16.h"
#include "kernels/conv_shape.h"
#include "kernels/device.h"

namespace espalier::kernels {

/// y[n,p,q,c] = largest x of the window; shape.R and S are the window, shape.K == C. Padded places never win.
/// The gradient goes to the first largest one in row order. T is float or Bf16.
template <class T>
void max_pool_forward(Device device, const ConvShape& shape, const T* x, T* y);

/// dx by gathering: each input asks the windows that hold it whether it was their first largest.
template <class T>
void max_pool_backward(Device device, const ConvShape& shape, const T* x, const T* dy, T* dx);

}  // namespace espalier::kernels
