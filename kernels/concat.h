#pragma once

#include <cstdint>

#include "kernels/device.h"

namespace espalier::kernels {

/// Copies `width` elements of `bytes` each per row between dense rows of different lengths: channel blocks of
/// a concat. to[row, to_first : to_first + width] = from[row, from_first : from_first + width]
void copy_channels(Device device, int64_t rows, int width, int bytes, const void* from, int from_channels,
                   int from_first, void* to, int to_channels, int to_first);

}  // namespace espalier::kernels
