#pragma once
// Division by a number that is known when a kernel starts, as a multiplication and a shift (Granlund and
// Montgomery 1994).

#include <cstdint>

#include "kernels/host_device.h"

namespace espalier::kernels {

/// n / divisor for 0 <= n < 2^31.
struct Divisor {
  uint32_t divisor = 1, factor = 1, shift = 0;

  Divisor() = default;
  explicit Divisor(int d) : divisor(static_cast<uint32_t>(d)) {
    while (uint64_t{1} << shift < divisor) ++shift;
    factor = static_cast<uint32_t>((uint64_t{1} << 32) * ((uint64_t{1} << shift) - divisor) / divisor + 1);
  }

  ESPALIER_HD int divide(int n) const {
    const uint32_t u = static_cast<uint32_t>(n);
    const uint32_t high = static_cast<uint32_t>(uint64_t{u} * factor >> 32);
    return static_cast<int>((high + u) >> shift);
  }
};

}  // namespace espalier::kernels
