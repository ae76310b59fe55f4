#pragma once
// Four INT8 codes in a word, for the GPU's loops.

#include "kernels/quantized_body.h"
#include "kernels/warp.h"

namespace espalier::kernels {

ESPALIER_SIMT int32_t code_of(uint32_t word, Code code, int k) {
  const uint32_t byte = word >> (8 * k) & 0xff;
  return code == Code::kU8 ? static_cast<int32_t>(byte) : static_cast<int32_t>(static_cast<int8_t>(byte));
}

/// to_code() of four, packed. Adding 1.5 * 2^23 leaves a number's integer, rounded half to even, in the low
/// bits: conversions take four times as long as additions.
ESPALIER_SIMT uint32_t code_word(const float (&f)[4], int low, int high) {
  constexpr float kIntegers = 12582912.0f;
  uint32_t bits[4];
  ESPALIER_UNROLL
  for (int j = 0; j < 4; ++j)
    bits[j] =
        warp::bits_of(fminf(fmaxf(f[j], static_cast<float>(low)), static_cast<float>(high)) + kIntegers);
  return warp::permute_bytes(warp::permute_bytes(bits[0], bits[1], 0x0040),
                             warp::permute_bytes(bits[2], bits[3], 0x0040), 0x5410);
}

}  // namespace espalier::kernels
