#pragma once
// How large the values of a tensor are, counted where it lies; for the histograms of a calibration.

#include <cstdint>

#include "kernels/device.h"

namespace espalier::kernels {

struct MagnitudeRange {
  float largest = 0;  ///< |x|, meaningless unless all are finite
  bool finite = true;
  bool negative = false;  ///< some x is below zero
};

/// Waits for it.
MagnitudeRange magnitude_range(Device device, int64_t n, const float* x);

constexpr int kMagnitudeBins = 2048;
constexpr int kMagnitudeOctaves = 256;  ///< exponents of a float

/// Adds to bins[i], on the host, how many x have i <= |x| * per_width < i + 1, and to octaves[e] how many
/// have the biased exponent e; zeros are left out. per_width is a power of two and every |x| * per_width
/// below kMagnitudeBins. Waits for it.
void count_magnitudes(Device device, int64_t n, const float* x, double per_width, int64_t* bins,
                      int64_t* octaves);

}  // namespace espalier::kernels
