#pragma once
// From the losses of many rows to one, where the device has them: nothing crosses to the host.

#include <cstdint>

#include "kernels/device.h"

namespace espalier::kernels {

/// How much each row counts: 0 with the ignored label, otherwise 1 or what its label's class weighs.
struct RowCounts {
  const int32_t* labels = nullptr;  ///< [rows]; null: no row counts
  int ignored_label = -1;
  const float* weights = nullptr;  ///< per class, or null
};

/// loss = sum of losses / count and factor = 1 / count, both 0 where count is 0; count is `added` and what
/// the rows count. Sums in double, on the CPU in order. Everything on the device, loss and factor one float
/// each.
void loss_mean(Device device, int64_t rows, const float* losses, const RowCounts& counts, double added,
               float* loss, float* factor);

}  // namespace espalier::kernels
