// Losses against a teacher, by plain formulas. Gradients: every_op_test.cpp.

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "ops/autograd.h"
#include "ops/ops.h"
#include "support/messages.h"
#include "support/random_tensor.h"

namespace espalier {
namespace {

using test::expect_says;
using test::message_of;

std::vector<double> softmax(const float* x, int K, double temperature) {
  std::vector<double> shares;
  double sum = 0;
  for (int k = 0; k < K; ++k) sum += std::exp(x[k] / temperature);
  for (int k = 0; k < K; ++k) shares.push_back(std::exp(x[k] / temperature) / sum);
  return shares;
}

double divergence(const std::vector<double>& p, const std::vector<double>& q) {
  double sum = 0;
  for (size_t k = 0; k < p.size(); ++k) sum += p[k] * std::log(p[k] / q[k]);
  return sum;
}

double binary_divergence(double x, double teacher) {
  const double q = 1 / (1 + std::exp(-x)), p = 1 / (1 + std::exp(-teacher));
  return p * std::log(p / q) + (1 - p) * std::log((1 - p) / (1 - q));
}

TEST(DistillationLoss, IsTheMeanDivergenceOfRowsThatCount) {
  constexpr int kIgnored = 255;
  const int K = 5;
  const Tensor x = test::random_tensor({2, 3, K}, Device::kCpu, 1),
               t = test::random_tensor({2, 3, K}, Device::kCpu, 2);
  const std::vector<int32_t> labels = {0, kIgnored, 3, 1, kIgnored, 4};
  double sum = 0;
  for (const int row : {0, 2, 3, 5})
    sum += 9 * divergence(softmax(t.f32() + row * K, K, 3), softmax(x.f32() + row * K, K, 3));
  const Tensor classes = Tensor::from(std::span<const int32_t>(labels), {2, 3});
  EXPECT_NEAR(distillation_loss(x, t, classes, 3, kIgnored).item(), sum / 4, 1e-5 * sum);
  EXPECT_NEAR(distillation_loss(x, x, classes, 3, kIgnored).item(), 0, 1e-6);
}

TEST(DistillationLoss, OneLogitStandsForTwoClasses) {
  const Tensor x = test::random_tensor({4, 1}, Device::kCpu, 1),
               t = test::random_tensor({4, 1}, Device::kCpu, 2);
  const Tensor labels = Tensor::from(std::vector<int32_t>{0, 1, 1, 0}, {4});
  double sum = 0;
  for (int i = 0; i < 4; ++i) sum += 4 * binary_divergence(x.f32()[i] / 2, t.f32()[i] / 2);
  EXPECT_NEAR(distillation_loss(x, t, labels, 2).item(), sum / 4, 1e-5 * sum);
}

TEST(DistillationLoss, OfAHeadCountsWhereTheTeacherSeesObjects) {
  const int classes = 3, values = 5 + classes;
  const Tensor x = test::random_tensor({2, 2, 1, 2 * values}, Device::kCpu, 1),
               t = test::random_tensor({2, 2, 1, 2 * values}, Device::kCpu, 2);
  double sum = 0;
  for (int i = 0; i < 8; ++i) {
    const float *a = x.f32() + i * values, *b = t.f32() + i * values;
    double parts = binary_divergence(a[0], b[0]) + binary_divergence(a[1], b[1]) +
                   (std::pow(a[2] - b[2], 2) + std::pow(a[3] - b[3], 2)) / 2;
    for (int k = 5; k < values; ++k) parts += 4 * binary_divergence(a[k] / 2, b[k] / 2);
    sum += binary_divergence(a[4], b[4]) + parts / (1 + std::exp(-b[4]));
  }
  EXPECT_NEAR(yolo_distillation_loss(x, t, classes, 2).item(), sum / 2, 1e-5 * sum);
  EXPECT_NEAR(yolo_distillation_loss(x, x, classes, 2).item(), 0, 1e-6);
}

TEST(DistillationLoss, LargeLogitsStayFinite) {
  const Tensor x = Tensor::from(std::vector<float>{300, -300, 0}, {1, 3}),
               t = Tensor::from(std::vector<float>{-300, 300, 0}, {1, 3});
  const Tensor labels = Tensor::from(std::vector<int32_t>{0}, {1});
  EXPECT_NEAR(distillation_loss(x, t, labels, 1).item(), 600, 1e-3);
  EXPECT_EQ(distillation_loss(x, t, labels, 1, 0).item(), 0) << "nothing counts";
  const Tensor one = Tensor::from(std::vector<float>{-200}, {1, 1}),
               other = Tensor::from(std::vector<float>{200}, {1, 1});
  EXPECT_NEAR(distillation_loss(one, other, labels, 1).item(), 200, 1e-3);
}

TEST(DistillationLoss, WhatDoesNotFitIsAnError) {
  const Tensor x = test::random_tensor({2, 3}), t = test::random_tensor({2, 4});
  const Tensor labels = Tensor::from(std::vector<int32_t>{0, 1}, {2});
  expect_says(message_of([&] { distillation_loss(x, t, labels, 1); }),
              {"distillation_loss: the outputs are f32[2,3] and the teacher's f32[2,4]; they must be alike"});
  expect_says(message_of([&] { distillation_loss(x, x, labels, 0); }), {"the temperature is 0"});
  expect_says(message_of([&] { distillation_loss(x, x, x, 1); }), {"labels are f32"});
  const Tensor head = test::random_tensor({1, 2, 2, 9});
  expect_says(message_of([&] { yolo_distillation_loss(head, head, 3, 1); }), {"it must be [N,H,W,A*8]"});
  const Tensor teacher = test::random_tensor({2, 3}, Device::kCpu, 2);
  teacher.set_requires_grad();
  x.set_requires_grad();
  expect_says(message_of([&] { backward(distillation_loss(x, teacher, labels, 1)); }), {"have no gradient"});
}

}  // namespace
}  // namespace espalier
