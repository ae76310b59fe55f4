#pragma once
// Pooling and resizing of INT8 codes, whose scale the output keeps.

#include "kernels/quantized_conv2d.h"
#include "kernels/resize.h"

namespace espalier::kernels {

/// y[n,p,q,c] = largest code of the window, as max_pool_forward() does.
void quantized_max_pool(Device device, const ConvShape& shape, Code code, const void* x, void* y);

/// As resize_forward(); bilinear mixes in float, mix_codes(), and rounds half to even once.
void quantized_resize(Device device, const ResizeShape& shape, Code code, const void* x, void* y);

}  // namespace espalier::kernels
