#include "kernels/channel_block.h"

#include "kernels/simd.h"

namespace espalier::kernels {

int channel_block(Device device) { return device == Device::kCpu && simd::kLanes >= 8 ? simd::kLanes : 8; }

}  // namespace espalier::kernels
