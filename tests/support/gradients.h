#pragma once
// Gradients against central differences.

#include <gtest/gtest.h>

#include <functional>

#include "support/tolerance.h"
#include "tensor/tensor.h"

namespace espalier::test {

/// Compares backward() of sum(f() * r), r fixed and random, with central differences of step 1e-2 in every
/// element of every input (at most `most` of each, spread evenly). A plain sum would be blind where outputs
/// add up to a constant. `f` reads the given tensors; they become leaves.
::testing::AssertionResult gradients_match(const std::function<Tensor()>& f, const Tensors& inputs,
                                           Tolerance tolerance = kGradient, int most = 64);

}  // namespace espalier::test
