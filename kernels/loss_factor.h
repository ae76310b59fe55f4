#pragma once

#include "kernels/device.h"
#include "kernels/host_device.h"

namespace espalier::kernels {

/// What the derivative of a sum of losses is multiplied by: the gradient that arrived and what loss_mean()
/// made of the count. Both are read where they lie, on the device.
struct LossFactor {
  const float *gradient, *factor;
  ESPALIER_HD float operator()() const { return *gradient * *factor; }
};

}  // namespace espalier::kernels
