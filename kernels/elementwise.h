#pragma once
// Element-wise work that belongs to no particular op.

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/device.h"

namespace espalier::kernels {

/// sum[i] += x[i]. T is float or Bf16.
template <class T>
void add_into(Device device, int64_t n, const T* x, T* sum);

/// y[i] = x[i] in the other type
void cast(Device device, int64_t n, const float* x, Bf16* y);
void cast(Device device, int64_t n, const Bf16* x, float* y);

/// y[i] = a[i] + b[i]
template <class T>
void add_forward(Device device, int64_t n, const T* a, const T* b, T* y);

/// x[i] = value
void fill(Device device, int64_t n, float value, float* x);

/// x[i] *= factor
void scale_in_place(Device device, int64_t n, float factor, float* x);

}  // namespace espalier::kernels
