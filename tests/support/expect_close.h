#pragma once
// The only comparison of numbers in the tests.

#include <gtest/gtest.h>

#include <span>
#include <string>

#include "support/tolerance.h"
#include "tensor/tensor.h"

namespace espalier::test {

/// Fails, naming the worst element, unless |got - want| <= relative * max(|want|, scale) everywhere. Written
/// so that NaN fails. Fails as *untrusted* when most of `want` is zero or constant, because such a comparison
/// proves nothing.
::testing::AssertionResult expect_close(std::span<const float> got, std::span<const double> want,
                                        Tolerance tolerance);
::testing::AssertionResult expect_close(const Tensor& got, const Tensor& want, Tolerance tolerance);

}  // namespace espalier::test
