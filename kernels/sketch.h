#pragma once
// Whether two kernels that should compute the same did, up to rounding, without keeping both results.

#include <cstdint>
#include <vector>

#include "kernels/device.h"

namespace espalier::kernels {

/// What is left of an array: of bucket b the sum, with signs of their own, and the sum of squares of the
/// elements b, b + kBuckets, ...
struct Sketch {
  static constexpr int kBuckets = 1 << 16;
  int64_t elements = 0;
  std::vector<float> sums, squares;  ///< [kBuckets], or [elements] where those are fewer
};

/// Of x[n], float or Bf16, on the device. Waits for it.
template <class T>
Sketch sketch(Device device, int64_t n, const T* x);

enum class Likeness { kAlike, kDifferent, kUnknown };

/// Different if some bucket is off by more than rounding explains: a twentieth of what its elements and as
/// many of the usual size come to. So one element among a hundred that is off by the usual size shows, and
/// one that lost a few bits does not. Unknown where the expected numbers tell nothing: they are not finite,
/// or zeros (or so small that their squares are).
Likeness compare(const Sketch& got, const Sketch& want);

}  // namespace espalier::kernels
