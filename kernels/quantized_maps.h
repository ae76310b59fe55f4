#pragma once
// INT8 work without neighbours for the GPU, four codes a thread, bit for bit the shared bodies'.

#include "kernels/pixel_maps.h"
#include "kernels/quantized_body.h"

namespace espalier::kernels::pixels {

ESPALIER_SIMT uint32_t pack_codes(const int (&codes)[4]) {
  uint32_t word = 0;
  ESPALIER_UNROLL
  for (int k = 0; k < 4; ++k) word |= static_cast<uint32_t>(codes[k] & 0xff) << (8 * k);
  return word;
}

ESPALIER_SIMT float code_of(uint32_t word, Code code, int k) {
  const uint32_t byte = word >> (8 * k) & 0xff;
  return static_cast<float>(code == Code::kU8 ? static_cast<int>(byte)
                                              : static_cast<int>(static_cast<int8_t>(byte)));
}

/// y = clamp(round(x * inverse_scale)); one row is four elements.
struct QuantizeFour {
  const float* x;
  float inverse_scale;
  int low, high;
  uint32_t* y;
  ESPALIER_SIMT void run(int row, int) const {
    const Float4 v = warp::load4(x + int64_t{row} * 4);
    int codes[4];
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) codes[k] = to_code(v.v[k] * inverse_scale, low, high);
    y[row] = pack_codes(codes);
  }
};

/// y = clamp(round(fmaf(b, b_factor, a * a_factor))); one row is four codes.
struct AddFour {
  Code a_code, b_code;
  const uint32_t *a, *b;
  float a_factor, b_factor;
  int low, high;
  uint32_t* y;
  ESPALIER_SIMT void run(int row, int) const {
    int codes[4];
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k)
      codes[k] = to_code(fmaf(code_of(b[row], b_code, k), b_factor, code_of(a[row], a_code, k) * a_factor),
                         low, high);
    y[row] = pack_codes(codes);
  }
};

}  // namespace espalier::kernels::pixels
