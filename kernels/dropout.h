#pragma once

#include <cstdint>

#include "kernels/device.h"

namespace espalier::kernels {

/// y[i] = kept(i) ? x[i] / (1 - probability) : 0. Whether an element is kept is a function of (key, i) alone,
/// so the same call gives the gradient from dy.
void dropout(Device device, int64_t n, uint64_t key, float probability, const float* x, float* y);

}  // namespace espalier::kernels
