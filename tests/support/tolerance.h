#pragma once
// Every tolerance of the tests, each with its reason. A test that needs another says why on its line.

#include <cmath>
#include <cstdint>
#include <limits>

namespace espalier::test {

/// error <= relative * max(|want|, floor)
struct Tolerance {
  double relative;
  double floor = 0;
};

/// One or two roundings of fp32 and a library function.
constexpr Tolerance kElementwise{2e-6, 1e-3};
/// Graph passes reorder a few roundings: against the largest output.
constexpr double kPassRelativeToMax = 1e-5;
/// Central differences with step 1e-2 in fp32.
constexpr Tolerance kGradient{1e-3, 1.0};

/// Of a sum of `terms` products, against the sum of their absolute values: rounding errors grow like a random
/// walk. `eps` is that of the inputs' type: 2^-11 for TF32, 2^-8 for bf16.
inline Tolerance sum_tolerance(int64_t terms, double eps = std::numeric_limits<float>::epsilon()) {
  return {4 * std::sqrt(static_cast<double>(terms)) * eps, 1.0};
}

/// F(4x4, 3x3) against the limit of a direct sum: its transforms multiply by up to 8 and take away again, see
/// Barabasz, Anderson, Soodhalter and Gregg, 2020, "Error Analysis and Improving the Accuracy of Winograd
/// Convolution for Deep Neural Networks".
constexpr double kWinogradError = 10;

}  // namespace espalier::test
