#pragma once
// Piecewise linear activations as two numbers, and sigmoid.

#include <cstdint>
#include <limits>

#include "kernels/bf16.h"
#include "kernels/device.h"
#include "kernels/host_device.h"

namespace espalier {

/// y = min(x > 0 ? x : slope * x, cap). One form covers all that the three networks use, and every fused
/// epilogue takes it.
struct Activation {
  static constexpr float kNoCap = std::numeric_limits<float>::max();

  float slope = 1.0f;
  float cap = kNoCap;

  static constexpr Activation none() { return {}; }
  static constexpr Activation relu(float cap = kNoCap) { return {0.0f, cap}; }
  static constexpr Activation relu6() { return {0.0f, 6.0f}; }
  static constexpr Activation leaky(float slope = 0.1f) { return {slope, kNoCap}; }

  bool is_none() const { return slope == 1.0f && cap == kNoCap; }
  bool operator==(const Activation&) const = default;

  /// NaN stays NaN.
  ESPALIER_HD float operator()(float x) const {
    const float v = x > 0 ? x : slope * x;
    return v > cap ? cap : v;
  }
  /// dy * act'(x). A negative slope lifts negative values to the cap too.
  ESPALIER_HD float gradient(float x, float dy) const {
    const float here = x > 0 ? 1.0f : slope;
    return here * x < cap ? here * dy : 0.0f;
  }
};

namespace kernels {

/// y = act(x); x and y may be the same.
void activation_forward(Device device, int64_t n, Activation act, const float* x, float* y);

/// dx = dy * act'(x); the derivative at 0 is slope, at cap it is 0 (PyTorch's convention for relu and relu6).
/// T is float or Bf16.
template <class T>
void activation_backward(Device device, int64_t n, Activation act, const T* x, const T* dy, T* dx);

/// y = 1 / (1 + exp(-x))
void sigmoid_forward(Device device, int64_t n, const float* x, float* y);

/// dx = dy * y * (1 - y)
void sigmoid_backward(Device device, int64_t n, const float* y, const float* dy, float* dx);

}  // namespace kernels
}  // namespace espalier
