#pragma once
// INT8 work without neighbours for the GPU, four codes a thread, bit for bit the shared bodies'.

#include "kernels/pixel_maps.h"
#include "kernels/quantized_words.h"

namespace espalier::kernels::pixels {

/// y = clamp(round(x * inverse_scale)); one row is four elements.
struct QuantizeFour {
  const float* x;
  float inverse_scale;
  int low, high;
  uint32_t* y;
  ESPALIER_SIMT void run(int row, int) const {
    const Float4 v = warp::load4(x + int64_t{row} * 4);
    float f[4];
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k) f[k] = v.v[k] * inverse_scale;
    y[row] = code_word(f, low, high);
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
    const uint32_t a_word = a[row], b_word = b[row];
    float f[4];
    ESPALIER_UNROLL
    for (int k = 0; k < 4; ++k)
      f[k] = fmaf(static_cast<float>(code_of(b_word, b_code, k)), b_factor,
                  static_cast<float>(code_of(a_word, a_code, k)) * a_factor);
    y[row] = code_word(f, low, high);
  }
};

}  // namespace espalier::kernels::pixels
