#pragma once
// INT8 convolutions of the GPU, bit for bit those of quantized_conv2d.h. Each returns false, having done
// nothing, for a problem it has no code for.

#include "kernels/quantized_conv2d.h"

namespace espalier::kernels::cuda {

#ifdef ESPALIER_HAS_CUDA
bool quantized_conv2d(const ConvShape& shape, Code x_code, const void* x, const int8_t* w,
                      const Requantize& requantize, Code y_code, void* y);
bool quantized_depthwise(const ConvShape& shape, Code x_code, const void* x, const int8_t* w,
                         const Requantize& requantize, Code y_code, void* y);
#else
inline bool quantized_conv2d(const ConvShape&, Code, const void*, const int8_t*, const Requantize&, Code,
                             void*) {
  return false;
}
inline bool quantized_depthwise(const ConvShape&, Code, const void*, const int8_t*, const Requantize&, Code,
                                void*) {
  return false;
}
#endif

}  // namespace espalier::kernels::cuda
