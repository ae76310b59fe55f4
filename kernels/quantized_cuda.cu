#include "kernels/quantized_cuda.h"

#include "kernels/cuda_launch.h"
#include "kernels/quantized_tiles.h"

namespace espalier::kernels::cuda {

bool quantized_conv2d(const ConvShape& s, Code x_code, const void* x, const int8_t* w, const Requantize& r,
                      Code y_code, void* y) {
  if (!tiles::takes_quantized(s, x_code) || !aligned(x) || !aligned(w) || !aligned(y)) return false;
  Machine machine;
  tiles::quantized_conv2d(machine, s, x_code, x, w, r, y_code, y);
  return true;
}

bool quantized_depthwise(const ConvShape& s, Code x_code, const void* x, const int8_t* w, const Requantize& r,
                         Code y_code, void* y) {
  if (!tiles::takes_quantized_depthwise(s, x_code) || !aligned(x) || !aligned(w) || !aligned(y)) return false;
  Machine machine;
  tiles::quantized_depthwise(machine, s, x_code, x, w, r, y_code, y);
  return true;
}

}  // namespace espalier::kernels::cuda
