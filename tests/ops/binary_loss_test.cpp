// Sigmoid cross entropy and dice: each against its formula in double and central differences, on every
// device.

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "ops/autograd.h"
#include "ops/ops.h"
#include "support/device_test.h"
#include "support/gradients.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

struct BinaryLossTest : DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(BinaryLossTest);

constexpr int kIgnored = 255;

/// More than one piece of a dice sum in an image, the last one not full.
constexpr int N = 2, H = 37, W = 61;

std::vector<int32_t> some_labels(int ignore_every) {
  std::vector<int32_t> labels;
  for (int i = 0; i < N * H * W; ++i)
    labels.push_back(ignore_every && i % ignore_every == 1 ? kIgnored : i * 7 % 3 == 0);
  return labels;
}

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

TEST_P(BinaryLossTest, CrossEntropyMatchesItsFormula) {
  const Tensor x = random_tensor({N, H, W, 1}, GetParam(), 1);
  const std::vector<float> logits = x.to_vector();
  for (const int ignore_every : {0, 5}) {
    const std::vector<int32_t> labels = some_labels(ignore_every);
    double sum = 0;
    int count = 0;
    for (size_t i = 0; i < labels.size(); ++i) {
      if (labels[i] == kIgnored) continue;
      const double p = sigmoid_of(logits[i]);
      sum -= labels[i] ? std::log(p) : std::log(1 - p);
      ++count;
    }
    const Tensor y = Tensor::from(labels, {N, H, W}, GetParam());
    EXPECT_NEAR(sigmoid_cross_entropy(x, y, kIgnored).item(), sum / count, 1e-6);
  }
}

TEST_P(BinaryLossTest, CrossEntropyHoldsForLargeLogits) {
  const Tensor x = Tensor::from(std::vector<float>{200, -200, 200, -200}, {4, 1}, GetParam());
  const Tensor y = Tensor::from(std::vector<int32_t>{1, 0, 0, 1}, {4}, GetParam());
  EXPECT_EQ(sigmoid_cross_entropy(x, y).item(), 100);
  EXPECT_TRUE(std::isfinite(dice_loss(x, y).item()));
}

TEST_P(BinaryLossTest, DiceMatchesItsFormula) {
  const Tensor x = random_tensor({N, H, W, 1}, GetParam(), 2);
  const std::vector<float> logits = x.to_vector();
  for (const int ignore_every : {0, 5}) {
    const std::vector<int32_t> labels = some_labels(ignore_every);
    double want = 0;
    for (int n = 0; n < N; ++n) {
      double both = 0, all = 1e-5;
      for (int i = n * H * W; i < (n + 1) * H * W; ++i) {
        if (labels[i] == kIgnored) continue;
        both += sigmoid_of(logits[i]) * labels[i];
        all += sigmoid_of(logits[i]) + labels[i];
      }
      want += (1 - 2 * both / all) / N;
    }
    EXPECT_NEAR(dice_loss(x, Tensor::from(labels, {N, H, W}, GetParam()), kIgnored).item(), want, 1e-6);
  }
}

TEST_P(BinaryLossTest, GradientsMatchDifferences) {
  const Tensor x = random_tensor({2, 3, 5, 1}, GetParam(), 3);
  std::vector<int32_t> labels;
  for (int i = 0; i < 30; ++i) labels.push_back(i % 7 == 6 ? kIgnored : i * 5 % 3 == 0);
  const Tensor y = Tensor::from(labels, {2, 3, 5}, GetParam());
  EXPECT_TRUE(gradients_match([&] { return sigmoid_cross_entropy(x, y, kIgnored); }, {x}));
  EXPECT_TRUE(gradients_match([&] { return dice_loss(x, y, kIgnored); }, {x}));
}

TEST_P(BinaryLossTest, WhereAllIsIgnoredThereIsNoLoss) {
  const Tensor x = random_tensor({1, 2, 2, 1}, GetParam(), 4).set_requires_grad();
  const Tensor y = Tensor::from(std::vector<int32_t>(4, kIgnored), {1, 2, 2}, GetParam());
  const Tensor loss = sigmoid_cross_entropy(x, y, kIgnored);
  EXPECT_EQ(loss.item(), 0);
  backward(loss);
  EXPECT_EQ(x.grad().to_vector(), std::vector<float>(4, 0));
}

TEST_P(BinaryLossTest, LabelsAreZeroOrOne) {
  const Tensor x = random_tensor({1, 2, 2, 1}, GetParam(), 5);
  const Tensor y = Tensor::from(std::vector<int32_t>{0, 1, 2, 0}, {1, 2, 2}, GetParam());
  EXPECT_THROW(sigmoid_cross_entropy(x, y), Error);
  EXPECT_THROW(dice_loss(x, y), Error);
  EXPECT_THROW(dice_loss(random_tensor({1, 2, 2, 2}, GetParam(), 5), y), Error);
}

}  // namespace
}  // namespace espalier::test
