#pragma once

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/device.h"

namespace espalier::kernels {

/// y[n,c] = mean over the `pixels` rows of x[n,:,c]; x [N,pixels,C]. T is float or Bf16.
template <class T>
void global_avg_pool_forward(Device device, int N, int pixels, int C, const T* x, float* y);

/// dx[n,i,c] = dy[n,c] / pixels
template <class T>
void global_avg_pool_backward(Device device, int N, int pixels, int C, const float* dy, T* dx);

}  // namespace espalier::kernels
