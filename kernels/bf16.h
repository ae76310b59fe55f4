#pragma once
// The upper half of a float: 8 bits of exponent, 7 of fraction. What is stored so is computed with as a
// float, and rounded to nearest even where it is stored again.

#include <cstdint>
#include <cstring>

#include "kernels/host_device.h"

namespace espalier {

struct Bf16 {
  uint16_t bits;

  Bf16() = default;
  /// NaN stays NaN, and what rounds past the largest becomes infinite.
  ESPALIER_HD Bf16(float f) {  // NOLINT(google-explicit-constructor): kernels are written for both types
    uint32_t word;
    memcpy(&word, &f, sizeof word);
    bits = static_cast<uint16_t>(f != f ? 0x7fff : (word + 0x7fff + (word >> 16 & 1)) >> 16);
  }
  ESPALIER_HD operator float() const {  // NOLINT(google-explicit-constructor)
    const uint32_t word = uint32_t{bits} << 16;
    float f;
    memcpy(&f, &word, sizeof f);
    return f;
  }
};

}  // namespace espalier
