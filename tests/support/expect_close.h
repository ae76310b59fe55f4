#pragma once
// The only comparison of numbers in the tests.

#include <gtest/gtest.h>

#include <span>
#include <vector>

#include "support/tolerance.h"
#include "tensor/tensor.h"

namespace espalier::test {

/// Fails, naming the worst element, unless |got - want| <= relative * max(|want|, floor) everywhere. Written
/// so that NaN fails. Fails as *untrusted* when nothing is compared, or when most of `want` is zero or
/// constant, because such a comparison proves nothing.
::testing::AssertionResult expect_close(std::span<const float> got, std::span<const double> want,
                                        Tolerance tolerance);
::testing::AssertionResult expect_close(const Tensor& got, const Tensor& want, Tolerance tolerance);

/// Sums in double, the sums of their terms' absolute values, and how many terms the longest has.
struct Sums {
  std::vector<double> value, magnitude;
  int64_t terms = 0;

  Sums(int64_t count, int64_t terms)
      : value(static_cast<size_t>(count)), magnitude(static_cast<size_t>(count)), terms(terms) {}
  void add(int64_t at, double term) {
    value[static_cast<size_t>(at)] += term;
    magnitude[static_cast<size_t>(at)] += term < 0 ? -term : term;
  }
};

/// |got - want| <= 4 * sqrt(terms) * eps * sum of absolute terms, everywhere; see sum_tolerance().
::testing::AssertionResult expect_sums(const Tensor& got, const Sums& want);

}  // namespace espalier::test
