#pragma once
// Rounding to codes and back, for training with it.

#include <cstdint>

#include "kernels/device.h"

namespace espalier::kernels {

/// x [outer, channels, inner], one scale a channel. Codes are whole numbers in low .. high.
struct FakeQuantizeProblem {
  int64_t outer, channels, inner;
  const float* x;
  const float* scale;
  float low, high;
};

/// y = scale * clamp(x / scale rounded half to even, low, high).
void fake_quantize_forward(Device device, const FakeQuantizeProblem& problem, float* y);
/// dx = dy where the code is not clamped, else 0: straight through the rounding.
void fake_quantize_input_gradient(Device device, const FakeQuantizeProblem& problem, const float* dy,
                                  float* dx);

/// How many parts the sum over a channel is split in.
int64_t fake_quantize_parts(const FakeQuantizeProblem& problem);
/// parts [channels, fake_quantize_parts()]: sums over pieces of a channel of dy * (code - x / scale, or the
/// limit where it is clamped), the derivative by the scale of Esser et al., 2020, "Learned Step Size
/// Quantization", equation 3. The pieces do not depend on the number of threads.
void fake_quantize_scale_gradient(Device device, const FakeQuantizeProblem& problem, const float* dy,
                                  float* parts);

}  // namespace espalier::kernels
