#pragma once

#include <cstdint>

#include "kernels/device.h"

namespace espalier::kernels {

/// y[n,c] = mean over the `pixels` rows of x[n,:,c]; x [N,pixels,C].
void global_avg_pool_forward(Device device, int N, int pixels, int C, const float* x, float* y);

/// dx[n,i,c] = dy[n,c] / pixels
void global_avg_pool_backward(Device device, int N, int pixels, int C, const float* dy, float* dx);

}  // namespace espalier::kernels
