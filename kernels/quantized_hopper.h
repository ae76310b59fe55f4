#pragma once

#include "kernels/quantized_conv2d.h"

namespace espalier::kernels::cuda {

/// quantized_conv2d() on Hopper's tensor cores, for problems large enough; false, having done nothing, for
/// others and on other cards. x is codes.
#ifdef ESPALIER_HAS_HOPPER
bool quantized_groups(const ConvShape& shape, Code x_code, const void* x, const int8_t* w,
                      const Requantize& requantize, Code y_code, void* y);
#else
inline bool quantized_groups(const ConvShape&, Code, const void*, const int8_t*, const Requantize&, Code,
                             void*) {
  return false;
}
#endif

}  // namespace espalier::kernels::cuda
