#pragma once
// Pieces of the INT8 kernels that the shared bodies and the GPU's loops have in common.

#include <cmath>

#include "kernels/host_device.h"
#include "kernels/quantized_conv2d.h"

namespace espalier::kernels {

ESPALIER_HD int code_at(const void* p, Code code, int64_t i) {
  return code == Code::kU8 ? static_cast<const uint8_t*>(p)[i] : static_cast<const int8_t*>(p)[i];
}

/// Rounds half to even and clamps; the clamp comes first in float so that no conversion overflows.
ESPALIER_HD int to_code(float f, int low, int high) {
  f = f > static_cast<float>(low) ? f : static_cast<float>(low);
  f = f < static_cast<float>(high) ? f : static_cast<float>(high);
  return static_cast<int>(rintf(f));
}

ESPALIER_HD void store_code(void* p, Code code, int64_t i, int value) {
  if (code == Code::kU8)
    static_cast<uint8_t*>(p)[i] = static_cast<uint8_t>(value);
  else
    static_cast<int8_t*>(p)[i] = static_cast<int8_t>(value);
}

/// The epilogue of quantized_conv2d.h for element `at`, output channel k, up to its rounding.
ESPALIER_HD float requantized(const Requantize& r, int32_t sum, int k, int64_t at) {
  if (r.bias) sum += r.bias[k];
  float f = static_cast<float>(sum) * r.multiplier[k];
  f = f > 0 ? f : r.slope * f;
  if (r.residual)
    f = fmaf(static_cast<float>(code_at(r.residual, r.residual_code, at)), r.residual_factor, f);
  return f;
}

ESPALIER_HD void store_requantized(const Requantize& r, int32_t sum, int k, int64_t at, Code y_code,
                                   void* y) {
  const float f = requantized(r, sum, k, at);
  if (y_code == Code::kF32)
    static_cast<float*>(y)[at] = f;
  else
    store_code(y, y_code, at, to_code(f, r.low, r.high));
}

}  // namespace espalier::kernels
