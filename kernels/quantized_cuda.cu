#include "kernels/quantized_cuda.h"

#include "kernels/cuda_launch.h"
#include "kernels/quantized_hopper.h"
#include "kernels/quantized_maps.h"
#include "kernels/quantized_means.h"
#include "kernels/quantized_resample_maps.h"
#include "kernels/quantized_tiles.h"

namespace espalier::kernels::cuda {

namespace {

bool all_aligned(const Requantize& r) {
  return aligned(r.bias) && aligned(r.multiplier) && aligned(r.residual);
}

}  // namespace

bool quantized_conv2d(const ConvShape& s, Code x_code, const void* x, const int8_t* w, const Requantize& r,
                      Code y_code, void* y) {
  if (!tiles::takes_quantized(s, x_code) || !aligned(x) || !aligned(w) || !aligned(y) || !all_aligned(r))
    return false;
  if (quantized_groups(s, x_code, x, w, r, y_code, y)) return true;
  Machine machine;
  tiles::quantized_conv2d(machine, s, x_code, x, w, r, y_code, y);
  return true;
}

bool quantized_depthwise(const ConvShape& s, Code x_code, const void* x, const int8_t* w, const Requantize& r,
                         Code y_code, void* y) {
  if (!tiles::takes_quantized_depthwise(s, x_code) || !aligned(x) || !aligned(w) || !aligned(y) ||
      !all_aligned(r))
    return false;
  Machine machine;
  tiles::quantized_depthwise(machine, s, x_code, x, w, r, y_code, y);
  return true;
}

bool quantize(int64_t n, const float* x, float inverse_scale, int low, int high, void* y) {
  if (n % 4 || !pixels::fits(n / 4, 1) || !aligned(x) || !aligned(y)) return false;
  Machine machine;
  pixels::for_each_unit(machine, n / 4, 1,
                        pixels::QuantizeFour{x, inverse_scale, low, high, static_cast<uint32_t*>(y)});
  return true;
}

bool quantized_add(int64_t n, Code a_code, const void* a, float a_factor, Code b_code, const void* b,
                   float b_factor, int low, int high, void* y) {
  if (n % 4 || !pixels::fits(n / 4, 1) || !aligned(a) || !aligned(b) || !aligned(y)) return false;
  Machine machine;
  pixels::for_each_unit(
      machine, n / 4, 1,
      pixels::AddFour{a_code, b_code, static_cast<const uint32_t*>(a), static_cast<const uint32_t*>(b),
                      a_factor, b_factor, low, high, static_cast<uint32_t*>(y)});
  return true;
}

bool quantized_global_avg_pool(int N, int pixels, int C, Code code, const void* x, void* y) {
  if (!aligned(x)) return false;
  Machine machine;
  return channels::code_means(machine, N, pixels, C, code, x, y);
}

bool quantized_max_pool(const ConvShape& s, Code code, const void* x, void* y) {
  Machine machine;
  return aligned(x) && aligned(y) && pixels::run_codes<pixels::MaxPoolCodes>(machine, s, code, x, y);
}

bool quantized_resize(const ResizeShape& s, Code code, const void* x, void* y) {
  Machine machine;
  return aligned(x) && aligned(y) && pixels::run_codes<pixels::ResizeCodes>(machine, s, code, x, y);
}

}  // namespace espalier::kernels::cuda
