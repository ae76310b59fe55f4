// Ops whose activations are bf16: outputs and gradients against the same ops over floats of the same numbers,
// on every device.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "ops/autograd.h"
#include "ops/normed_conv.h"
#include "ops/ops.h"
#include "support/bf16.h"
#include "support/device_test.h"
#include "support/messages.h"

namespace espalier::test {
namespace {

struct Bf16OpsTest : DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(Bf16OpsTest);

TEST(Bf16, RoundsToTheNearestAndToEven) {
  const float step = 1.0f / 128;  // from 1 to the next
  EXPECT_EQ(float(Bf16(1.0f + 0.4f * step)), 1.0f);
  EXPECT_EQ(float(Bf16(1.0f + 0.6f * step)), 1.0f + step);
  EXPECT_EQ(float(Bf16(1.0f + 0.5f * step)), 1.0f);
  EXPECT_EQ(float(Bf16(1.0f + 1.5f * step)), 1.0f + 2 * step);
  EXPECT_EQ(float(Bf16(-1.0f - 1.5f * step)), -1.0f - 2 * step);
  EXPECT_EQ(float(Bf16(std::numeric_limits<float>::max())), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(float(Bf16(std::numeric_limits<float>::quiet_NaN()))));
  for (const float v : {0.0f, -0.0f, 0.5f, -3.0f, 1e-40f, std::numeric_limits<float>::infinity()})
    EXPECT_EQ(float(Bf16(float(Bf16(v)))), float(Bf16(v)));
}

/// bf16 of what floats give, where the terms of a sum may each be rounded before: against the largest number.
/// The loops have tests that are nearer (bf16_loops_test.cpp).
testing::AssertionResult expect_rounded(const Tensor& got, const Tensor& want) {
  double most = 0;
  for (const float v : want.to_vector()) most = std::max(most, std::abs(static_cast<double>(v)));
  return expect_close(got, want, {2 * kBf16Relative, most});
}

/// Runs `op` over x and other leaves twice, x as it is and as bf16, and compares outputs and gradients of
/// sum(y * r).
template <class Run>
void same_with_bf16(const Tensors& activations, const Tensors& parameters, const Run& run) {
  Tensors outputs[2];
  std::vector<Tensors> gradients(2);
  for (const bool stored : {false, true}) {
    Tensors x, given;
    for (const Tensor& t : activations) {
      x.push_back(t.clone().set_requires_grad());
      given.push_back(stored ? cast(x.back()) : x.back());
    }
    Tensors w;
    for (const Tensor& t : parameters) w.push_back(t.clone().set_requires_grad());
    const Tensor y = run(given, w);
    EXPECT_EQ(y.dtype() == DType::kBF16, stored && y.shape().axes() == 4);
    const Tensor floats = y.dtype() == DType::kBF16 ? cast(y) : y;
    backward(Tensors{floats}, Tensors{short_tensor(floats.shape(), floats.device(), 99)});
    outputs[stored] = {floats};
    for (const Tensors* all : {&x, &w})
      for (const Tensor& t : *all) gradients[stored].push_back(t.grad());
  }
  EXPECT_TRUE(expect_rounded(outputs[1][0], outputs[0][0])) << "output";
  for (size_t i = 0; i < gradients[0].size(); ++i)
    EXPECT_TRUE(expect_rounded(gradients[1][i], gradients[0][i])) << "gradient " << i;
}

Tensor numbers(const Shape& shape, Device device, uint64_t seed) { return short_tensor(shape, device, seed); }

TEST_P(Bf16OpsTest, PoolingResizingAndJoining) {
  const Device d = GetParam();
  for (const int c : {8, 37}) {
    SCOPED_TRACE(c);
    const Tensor x = numbers({2, 6, 7, c}, d, 1), z = numbers({2, 6, 7, 5}, d, 2);
    same_with_bf16({x}, {}, [](const Tensors& in, const Tensors&) { return max_pool(in[0]); });
    same_with_bf16({x}, {}, [](const Tensors& in, const Tensors&) { return global_avg_pool(in[0]); });
    same_with_bf16({x}, {},
                   [](const Tensors& in, const Tensors&) { return resize_bilinear(in[0], 11, 13, false); });
    same_with_bf16({x}, {}, [](const Tensors& in, const Tensors&) { return resize_nearest(in[0], 12, 14); });
    same_with_bf16({x, z}, {}, [](const Tensors& in, const Tensors&) { return concat({in[0], in[1]}); });
  }
}

TEST_P(Bf16OpsTest, ConvolutionsWithBias) {
  const Device d = GetParam();
  for (const auto& [c, k, kernel, stride] :
       {std::array{16, 24, 3, 1}, std::array{3, 16, 3, 2}, std::array{24, 33, 1, 1}, std::array{37, 6, 3, 1},
        std::array{64, 128, 1, 1}}) {
    SCOPED_TRACE(str(c, " to ", k, " kernel ", kernel));
    same_with_bf16(
        {numbers({2, 12, 11, c}, d, 1)}, {numbers({k, kernel, kernel, c}, d, 2), numbers({k}, d, 3)},
        [&](const Tensors& in, const Tensors& w) {
          const int pad = kernel / 2;
          return conv2d(in[0], w[0], {.stride = stride, .pad = {pad, pad, pad, pad}, .bias = w[1]});
        });
  }
}

/// Norm parameters of c channels: scale, shift, mean, variance.
Tensors norm_of(int c, Device d) {
  const Tensor variance = random_tensor({c}, d, 14);
  std::vector<float> positive = variance.to_vector();
  for (float& v : positive) v = 0.5f + v * v;
  variance.set(positive);
  return {numbers({c}, d, 11), numbers({c}, d, 12), numbers({c}, d, 13), variance};
}

/// A convolution that reads through a norm and measures what it gives, and the norm after it; the statistics
/// are given, so that nothing is compared through a chain of roundings.
template <class Op>
void taken_apart(Device d, int c, int k, int kernel) {
  const TrainingMode training;
  const int pad = kernel / 2;
  const Shape filter =
      std::is_same_v<Op, NormedConv2d> ? Shape{k, kernel, kernel, c} : Shape{kernel, kernel, c};
  const auto moments_of = [&](int channels) {
    const Tensor moments({2, channels}, d);
    std::vector<float> values(static_cast<size_t>(2 * channels), 0.25f);
    for (int i = 0; i < channels; ++i) values[static_cast<size_t>(channels + i)] = 0.5f + 0.1f * float(i % 7);
    moments.set(values);
    return moments;
  };
  const Tensors norm = norm_of(c, d), after = norm_of(k, d);
  same_with_bf16({numbers({2, 13, 12, c}, d, 1)}, {numbers(filter, d, 2), moments_of(c), norm[0], norm[1]},
                 [&](const Tensors& in, const Tensors& w) {
                   auto op = std::make_shared<Op>();
                   op->pad = {pad, pad, pad, pad};
                   op->has_norm = op->measures = true;
                   op->norm.act = Activation::leaky(0.25f);
                   return apply(op, {in[0], w[0], w[1], w[2], w[3], norm[2].clone(), norm[3].clone()})[0];
                 });
  same_with_bf16({numbers({2, 13, 12, k}, d, 1), numbers({2, 13, 12, k}, d, 5)},
                 {moments_of(k), after[0], after[1]}, [&](const Tensors& in, const Tensors& w) {
                   auto op = std::make_shared<Normalize>();
                   op->has_residual = true;
                   return apply1(op, {in[0], w[0], w[1], w[2], after[2].clone(), after[3].clone(), in[1]});
                 });
}

TEST_P(Bf16OpsTest, NormsTakenApart) {
  for (const int c : {16, 24, 20}) {
    SCOPED_TRACE(c);
    taken_apart<NormedConv2d>(GetParam(), c, 32, 1);
    taken_apart<NormedDepthwiseConv2d>(GetParam(), c, c, 3);
  }
}

TEST_P(Bf16OpsTest, RefuseMixedTypes) {
  const Tensor x = numbers({1, 2, 2, 8}, GetParam(), 1);
  expect_says(message_of([&] { concat({cast(x), x}); }), "concat: input 1 is");
  expect_says(message_of([&] { relu(cast(x)); }), "; expected f32");
}

}  // namespace
}  // namespace espalier::test
