#pragma once
// Which fast paths a shared body's dispatcher may try.

#include "kernels/device.h"
#include "kernels/reference_only.h"

namespace espalier::kernels {

inline bool fast_on_cpu(Device device) { return device == Device::kCpu && !reference_only(); }
inline bool fast_on_cuda(Device device) { return device == Device::kCuda && !reference_only(); }

}  // namespace espalier::kernels
