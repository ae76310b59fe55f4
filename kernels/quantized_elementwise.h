#pragma once
// INT8 work without filters. Codes are as in quantized_conv2d.h; q = clamp(round half to even(...), low,
// high).

#include "kernels/quantized_conv2d.h"

namespace espalier::kernels {

/// y[i] = clamp(round(x[i] * inverse_scale))
void quantize(Device device, int64_t n, const float* x, float inverse_scale, int low, int high, Code y_code,
              void* y);
/// y[i] = x[i] * scale
void dequantize(Device device, int64_t n, Code x_code, const void* x, float scale, float* y);
/// y[i] = clamp(round(fmaf(b[i], b_factor, a[i] * a_factor))), factors being input scale / output scale.
void quantized_add(Device device, int64_t n, Code a_code, const void* a, float a_factor, Code b_code,
                   const void* b, float b_factor, int low, int high, Code y_code, void* y);
/// y[n,c] = clamp(round(float(sum over pixels of x[n,:,c]) / pixels)): the input's scale.
void quantized_global_avg_pool(Device device, int N, int pixels, int C, Code code, const void* x, void* y);

}  // namespace espalier::kernels
