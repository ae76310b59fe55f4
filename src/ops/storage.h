#pragma once
// Ops whose activations may be stored as bf16 (passes/store_bf16.h), and their choice of kernel.

#include <type_traits>

#include "base/error.h"
#include "ops/op.h"

namespace espalier {

/// Throws Error unless there are `count` inputs, those of op.may_be_bf16() all f32 or all bf16, the others
/// f32.
void check_activations(const Op& op, std::span<const Meta> in, size_t count);

/// call(std::type_identity<T>()) with the type that `dtype` is, float or Bf16.
template <class Call>
void with_type(DType dtype, const Call& call) {
  if (dtype == DType::kBF16)
    call(std::type_identity<Bf16>());
  else
    call(std::type_identity<float>());
}

/// Of a tensor that may be undefined.
template <class T>
T* data_or_null(const Tensor& t) {
  return t.defined() ? t.as<T>() : nullptr;
}

/// A tensor like `t`, with memory of its own.
inline Tensor like(const Tensor& t) { return Tensor(t.shape(), t.device(), t.dtype()); }

}  // namespace espalier
