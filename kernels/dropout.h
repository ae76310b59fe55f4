#pragma once

#include <cstdint>

#include "base/random.h"
#include "kernels/device.h"
#include "kernels/host_device.h"

namespace espalier::kernels {

/// Which masks are drawn. The step's words lie on the device, so that launches which were recorded once draw
/// anew in every step.
struct DropoutStream {
  const int32_t* step;  ///< low and high word of the seed, low and high word of the step's number
  uint64_t call;        ///< tells dropouts of one step apart

  ESPALIER_HD RandomStream stream() const {
    const auto join = [this](int low) {
      return uint64_t{static_cast<uint32_t>(step[low + 1])} << 32 | static_cast<uint32_t>(step[low]);
    };
    return random_stream(join(0), Purpose::kDropout, join(2), call);
  }
};

/// y[i] = kept(i) ? x[i] / (1 - probability) : 0. Whether an element is kept is word i of the stream, so the
/// same call gives the gradient from dy.
void dropout(Device device, int64_t n, const DropoutStream& stream, float probability, const float* x,
             float* y);

}  // namespace espalier::kernels
