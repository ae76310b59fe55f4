#pragma once
// INT8 convolutions of random codes, and what the shared body makes of them.

#include <cmath>
#include <vector>

#include "base/random.h"
#include "kernels/quantized_conv2d.h"
#include "support/kernel_settings.h"
#include "support/random_tensor.h"

namespace espalier::test {

using kernels::Code;
using kernels::ConvShape;

inline std::vector<uint8_t> codes(int64_t count, int low, int high, uint64_t seed) {
  Random random(seed, Purpose::kTest);
  std::vector<uint8_t> out(static_cast<size_t>(count));
  for (uint8_t& c : out)
    c = static_cast<uint8_t>(static_cast<int>(std::floor(random.uniform(low, high + 1))));
  return out;
}

/// A convolution of random codes.
struct QuantizedProblem {
  ConvShape s;
  Code x_code, y_code;
  bool depthwise;
  int64_t outputs;
  std::vector<uint8_t> x, w, residual;
  std::vector<int32_t> bias;
  Tensor multiplier;
  kernels::Requantize r;

  QuantizedProblem(ConvShape shape, bool depthwise, Code x_code, Code y_code, bool with_residual)
      : s(shape), x_code(x_code), y_code(y_code), depthwise(depthwise) {
    if (depthwise) s.K = s.C;
    outputs = int64_t{s.N} * s.P() * s.Q() * s.K;
    const bool u8 = x_code == Code::kU8;
    x = codes(int64_t{s.N} * s.H * s.W * s.C, u8 ? 0 : -127, u8 ? 255 : 127, 1);
    w = codes(int64_t{s.R} * s.S * s.C * (depthwise ? 1 : s.K), -127, 127, 2);
    residual = codes(outputs, -127, 127, 3);
    for (int k = 0; k < s.K; ++k) bias.push_back(37 * k - 500);
    multiplier = random_tensor({s.K}, Device::kCpu, 4);
    const float terms = static_cast<float>(s.R * s.S * (depthwise ? 1 : s.C));
    for (int k = 0; k < s.K; ++k)
      multiplier.f32()[k] = (std::abs(multiplier.f32()[k]) + 0.1f) / (60.0f * std::sqrt(terms));
    r.bias = bias.data();
    r.multiplier = multiplier.f32();
    if (with_residual) r.residual = residual.data();
    r.residual_code = Code::kS8;
    r.residual_factor = 0.37f;
    r.slope = y_code == Code::kS8 ? 0.1f : 1.0f;
    if (y_code == Code::kU8) r.low = 0, r.high = 200;
  }

  std::vector<uint8_t> output() const {
    return std::vector<uint8_t>(static_cast<size_t>(outputs) * (y_code == Code::kF32 ? 4 : 1), 0xee);
  }
  const int8_t* filters() const { return reinterpret_cast<const int8_t*>(w.data()); }

  std::vector<uint8_t> want() const {
    const ReferenceKernels reference;
    std::vector<uint8_t> y = output();
    (depthwise ? kernels::quantized_depthwise : kernels::quantized_conv2d)(Device::kCpu, s, x_code, x.data(),
                                                                           filters(), r, y_code, y.data());
    return y;
  }
};

struct Types {
  Code x, y;
  bool residual;
};
inline constexpr Types kTypes[] = {
    {Code::kU8, Code::kS8, true}, {Code::kS8, Code::kU8, false}, {Code::kU8, Code::kF32, false}};

}  // namespace espalier::test
