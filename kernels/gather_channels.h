#pragma once

#include <cstdint>

#include "kernels/device.h"

namespace espalier::kernels {

/// y[row, i] = x[row, index[i]], x [rows, wide], y [rows, narrow], index [narrow] within 0 .. wide - 1; all
/// on the device.
void gather_channels(Device device, int64_t rows, int wide, int narrow, const float* x, const int32_t* index,
                     float* y);

}  // namespace espalier::kernels
