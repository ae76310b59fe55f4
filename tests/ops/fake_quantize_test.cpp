// Training with rounding: the formulas, and gradients by their definition, since those of steps are zero.

#include "ops/fake_quantize.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "ops/autograd.h"
#include "ops/ops.h"
#include "support/device_test.h"
#include "support/messages.h"
#include "support/random_tensor.h"

namespace espalier {
namespace {

using test::expect_says;
using test::message_of;

struct FakeQuantizeTest : test::DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(FakeQuantizeTest);

struct Expected {
  std::vector<double> y, dx, dscale;
};

/// Plain loops. `channel_of` gives the scale of an element.
template <class ChannelOf>
Expected by_hand(const std::vector<float>& x, const std::vector<float>& scale, const std::vector<float>& dy,
                 double low, double high, const ChannelOf& channel_of) {
  Expected e;
  e.dscale.assign(scale.size(), 0);
  for (size_t i = 0; i < x.size(); ++i) {
    const double s = std::abs(scale[channel_of(i)]), code = double{x[i]} / s;
    const double rounded = std::min(std::max(std::nearbyint(code), low), high);
    const bool inside = code >= low && code <= high;
    e.y.push_back(s * rounded);
    e.dx.push_back(inside ? dy[i] : 0);
    e.dscale[channel_of(i)] += dy[i] * (inside ? rounded - code : rounded);
  }
  const double count = static_cast<double>(x.size()) / static_cast<double>(scale.size());
  for (size_t k = 0; k < scale.size(); ++k) e.dscale[k] *= (scale[k] < 0 ? -1 : 1) / std::sqrt(count * high);
  return e;
}

void expect_near(const std::vector<float>& got, const std::vector<double>& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], want[i], tolerance * (1 + std::abs(want[i]))) << i;
}

TEST_P(FakeQuantizeTest, RoundsClampsAndHandsTheGradientThrough) {
  // Large enough that the sum of a scale's gradient is split.
  for (const int axis : {-1, 0, 3}) {
    SCOPED_TRACE(axis);
    const Shape shape = {3, 37, 41, 5};
    const Tensor x = test::random_tensor(shape, GetParam(), 1),
                 dy = test::random_tensor(shape, GetParam(), 2);
    std::vector<float> scales(axis < 0 ? 1 : shape[axis]);
    for (size_t k = 0; k < scales.size(); ++k)
      scales[k] = (k == 1 ? -0.02f : 0.01f) * static_cast<float>(k + 2);
    const Tensor scale = Tensor::from(scales, {static_cast<int>(scales.size())}, GetParam());
    x.set_requires_grad();
    scale.set_requires_grad();
    const Tensor y = fake_quantize(x, scale, -30, 31, axis);
    backward({y}, {dy});
    const Expected want = by_hand(x.to_vector(), scales, dy.to_vector(), -30, 31, [&](size_t i) {
      return axis < 0 ? 0 : axis == 0 ? i / (37 * 41 * 5) : i % 5;
    });
    expect_near(y.to_vector(), want.y, 1e-6);
    expect_near(x.grad().to_vector(), want.dx, 0);
    expect_near(scale.grad().to_vector(), want.dscale, 1e-4);
  }
}

TEST_P(FakeQuantizeTest, HalvesGoToEvenAndCodesStaySame) {
  const Tensor x = Tensor::from(std::vector<float>{0.5f, 1.5f, -0.5f, -2.5f, 300, -7}, {6}, GetParam());
  const Tensor one = Tensor::full({1}, 1.0f).to(GetParam());
  EXPECT_EQ(fake_quantize(x, one, -127, 127).to_vector(), (std::vector<float>{0, 2, 0, -2, 127, -7}));
  EXPECT_EQ(fake_quantize(x, one, 0, 255).to_vector(), (std::vector<float>{0, 2, 0, 0, 255, 0}));
}

TEST(FakeQuantizeInput, WhatDoesNotFitIsAnError) {
  const Tensor x = test::random_tensor({2, 3}), one = Tensor::full({1}, 1.0f);
  expect_says(message_of([&] { fake_quantize(x, one, -1, 1, 2); }), {"axis is 2, x is [2,3]"});
  expect_says(message_of([&] { fake_quantize(x, one, -1, 1, 1); }), {"scales are [1], expected [3]"});
  expect_says(message_of([&] { fake_quantize(x, one, 1, 2); }), {"codes are 1 .. 2"});
}

}  // namespace
}  // namespace espalier
