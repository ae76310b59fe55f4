#pragma once
// Tensors of bf16 for tests, and how near their numbers are to those of floats.

#include "kernels/elementwise.h"
#include "support/expect_close.h"
#include "support/random_tensor.h"
#include "tensor/tensor.h"

namespace espalier::test {

/// One rounding to bf16 is half of 2^-7 of a number; the other half is for sums in another order that fall on
/// the other side.
constexpr double kBf16Relative = 1.0 / 128;

/// The numbers of an f32 tensor as bf16.
inline Tensor as_bf16(const Tensor& t) {
  const Tensor out(t.shape(), t.device(), DType::kBF16);
  kernels::cast(t.device(), t.elements(), t.f32(), out.bf16());
  return out;
}

/// The numbers of a bf16 tensor as f32.
inline Tensor as_f32(const Tensor& t) {
  const Tensor out(t.shape(), t.device());
  kernels::cast(t.device(), t.elements(), t.bf16(), out.f32());
  return out;
}

/// Random numbers that bf16 holds, as f32.
inline Tensor short_tensor(const Shape& shape, Device device, uint64_t seed) {
  return as_f32(as_bf16(random_tensor(shape, device, seed)));
}

}  // namespace espalier::test
