#pragma once

#include "kernels/device.h"

namespace espalier::kernels {

/// Channels that a device's fast kernels take at once, so that a layer with a multiple of them wastes
/// nothing: a vector of floats on the CPU (16 with AVX-512, 8 with AVX2), 8 on a GPU, whose matrix units load
/// 16 bytes of bf16.
int channel_block(Device device);

}  // namespace espalier::kernels
