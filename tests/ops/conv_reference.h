#pragma once
// Convolution and its gradients in double, straight from the formula.

#include "kernels/conv_shape.h"
#include "support/expect_close.h"
#include "tensor/tensor.h"

namespace espalier::test {

struct ConvReference {
  Sums y, dx, dw;
};

/// Output and gradients of sum(y * dy).
ConvReference conv_reference(const kernels::ConvShape& s, bool depthwise, const Tensor& x, const Tensor& w,
                             const Tensor& dy);

}  // namespace espalier::test
