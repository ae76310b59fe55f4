#include "kernels/fake_quantize.h"

#include <cmath>

#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

constexpr int64_t kPiece = 4096;  // elements of one part

ESPALIER_HD float clamped(float code, float low, float high) {
  return code < low ? low : code > high ? high : code;
}

/// One item is one element.
struct Forward {
  FakeQuantizeProblem p;
  float* y;
  ESPALIER_HD void operator()(int64_t i) const {
    const float scale = p.scale[i / p.inner % p.channels];
    y[i] = scale * clamped(rintf(p.x[i] / scale), p.low, p.high);
  }
};

/// One item is one element.
struct InputGradient {
  FakeQuantizeProblem p;
  const float* dy;
  float* dx;
  ESPALIER_HD void operator()(int64_t i) const {
    const float code = p.x[i] / p.scale[i / p.inner % p.channels];
    dx[i] = code < p.low || code > p.high ? 0.0f : dy[i];
  }
};

/// One item is one piece of one channel.
struct ScaleGradient {
  FakeQuantizeProblem p;
  const float* dy;
  float* parts;
  int64_t pieces;
  ESPALIER_HD void operator()(int64_t item) const {
    const int64_t channel = item / pieces, first = item % pieces * kPiece, all = p.outer * p.inner;
    const int64_t last = first + kPiece < all ? first + kPiece : all;
    const float inverse = 1 / p.scale[channel];
    float sum = 0;
    for (int64_t j = first; j < last; ++j) {
      const int64_t i = (j / p.inner * p.channels + channel) * p.inner + j % p.inner;
      const float code = p.x[i] * inverse;
      const bool inside = code >= p.low && code <= p.high;
      sum += dy[i] * (inside ? rintf(code) - code : clamped(code, p.low, p.high));
    }
    parts[item] = sum;
  }
};

}  // namespace

void fake_quantize_forward(Device device, const FakeQuantizeProblem& p, float* y) {
  for_each(device, p.outer * p.channels * p.inner, Forward{p, y}, 8);
}

void fake_quantize_input_gradient(Device device, const FakeQuantizeProblem& p, const float* dy, float* dx) {
  for_each(device, p.outer * p.channels * p.inner, InputGradient{p, dy, dx}, 8);
}

int64_t fake_quantize_parts(const FakeQuantizeProblem& p) {
  return (p.outer * p.inner + kPiece - 1) / kPiece;
}

void fake_quantize_scale_gradient(Device device, const FakeQuantizeProblem& p, const float* dy,
                                  float* parts) {
  const int64_t pieces = fake_quantize_parts(p);
  for_each(device, p.channels * pieces, ScaleGradient{p, dy, parts, pieces}, 8 * kPiece);
}

}  // namespace espalier::kernels
