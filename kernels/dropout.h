#pragma once

#include <cstdint>

#include "base/random.h"
#include "kernels/device.h"

namespace espalier::kernels {

/// y[i] = kept(i) ? x[i] / (1 - probability) : 0. Whether an element is kept is word i of the stream, so the
/// same call gives the gradient from dy.
void dropout(Device device, int64_t n, const RandomStream& stream, float probability, const float* x,
             float* y);

}  // namespace espalier::kernels
