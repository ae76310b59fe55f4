#pragma once
// INT8 work of the GPU, bit for bit that of quantized_conv2d.h, quantized_elementwise.h and
// quantized_resample.h. Each returns false, having done nothing, for a problem it has no code for.

#include "kernels/quantized_elementwise.h"
#include "kernels/quantized_resample.h"

namespace espalier::kernels::cuda {

#ifdef ESPALIER_HAS_CUDA
bool quantized_conv2d(const ConvShape& shape, Code x_code, const void* x, const int8_t* w,
                      const Requantize& requantize, Code y_code, void* y);
bool quantized_depthwise(const ConvShape& shape, Code x_code, const void* x, const int8_t* w,
                         const Requantize& requantize, Code y_code, void* y);
bool quantize(int64_t n, const float* x, float inverse_scale, int low, int high, void* y);
bool quantized_add(int64_t n, Code a_code, const void* a, float a_factor, Code b_code, const void* b,
                   float b_factor, int low, int high, void* y);
bool quantized_global_avg_pool(int N, int pixels, int C, Code code, const void* x, void* y);
bool quantized_max_pool(const ConvShape& shape, Code code, const void* x, void* y);
bool quantized_resize(const ResizeShape& shape, Code code, const void* x, void* y);
#else
inline bool quantize(int64_t, const float*, float, int, int, void*) { return false; }
inline bool quantized_add(int64_t, Code, const void*, float, Code, const void*, float, int, int, void*) {
  return false;
}
inline bool quantized_max_pool(const ConvShape&, Code, const void*, void*) { return false; }
inline bool quantized_resize(const ResizeShape&, Code, const void*, void*) { return false; }
inline bool quantized_global_avg_pool(int, int, int, Code, const void*, void*) { return false; }
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
