#pragma once
// INT8 convolution: u8 or s8 codes times s8 filters, summed exactly in s32.
//
//   f = float(sum + bias[k]) * multiplier[k];  f = f > 0 ? f : slope * f;  f = fmaf(residual,
//   residual_factor, f) y = clamp(round half to even(f), low, high), or f itself for an f32 output
//
// Every step is exact or one defined rounding, so the shared bodies, the vector code and any device agree bit
// for bit.

#include <cstdint>

#include "kernels/conv_shape.h"
#include "kernels/device.h"

namespace espalier::kernels {

/// The type of an activation's codes.
enum class Code : unsigned char { kS8, kU8, kF32 };

/// What happens to a sum.
struct Requantize {
  const int32_t* bias = nullptr;      ///< [K], or null
  const float* multiplier = nullptr;  ///< [K]: input scale * filter scale / output scale
  float slope = 1;                    ///< of negative values
  const void* residual = nullptr;     ///< codes like y's shape, or null
  Code residual_code = Code::kS8;
  float residual_factor = 0;   ///< residual scale / output scale
  int low = -127, high = 127;  ///< limits of the codes, the activation's folded in
};

/// x [N,H,W,C] of x_code, w [K,R,S,C], y [N,P,Q,K] of y_code. Padding holds code 0.
void quantized_conv2d(Device device, const ConvShape& shape, Code x_code, const void* x, const int8_t* w,
                      const Requantize& requantize, Code y_code, void* y);

/// The same with one filter a channel: w [R,S,C], y [N,P,Q,C].
void quantized_depthwise(Device device, const ConvShape& shape, Code x_code, const void* x, const int8_t* w,
                         const Requantize& requantize, Code y_code, void* y);

}  // namespace espalier::kernels
