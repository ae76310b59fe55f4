#include "ops/autograd.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "ops/ops.h"
#include "tensor/allocator.h"

namespace espalier {
namespace {

Tensor leaf(float value) { return Tensor::full({1}, value).set_requires_grad(); }

TEST(Autograd, AddsOverAllPathsToALeaf) {
  const Tensor x = leaf(0.5f);
  const Tensor y = add(sigmoid(x), add(x, x));  // x three times
  backward(y);
  const float s = 1 / (1 + std::exp(-0.5f));
  EXPECT_FLOAT_EQ(x.grad().item(), s * (1 - s) + 2);
}

TEST(Autograd, AddsToAGradientThatIsThere) {
  const Tensor x = leaf(2);
  for (int i = 1; i <= 3; ++i) {
    backward(relu(x));
    EXPECT_FLOAT_EQ(x.grad().item(), static_cast<float>(i));
  }
  x.clear_grad();
  EXPECT_FALSE(x.grad().defined());
}

TEST(Autograd, SharedGradientsAreNotOverwritten) {
  // add() hands the same tensor to both inputs; adding to one of them in place would show in the other.
  const Tensor a = leaf(1), b = leaf(1);
  // relu comes first, so that a already holds the shared tensor when relu's gradient is added to it.
  const Tensor activated = relu(a), sum = add(a, b);
  backward(add(sum, activated));
  EXPECT_FLOAT_EQ(a.grad().item(), 2);
  EXPECT_FLOAT_EQ(b.grad().item(), 1);
}

TEST(Autograd, LongChainsNeedNoStack) {
  const Tensor x = leaf(1);
  Tensor y = x;
  for (int i = 0; i < 100000; ++i) y = relu(y);
  backward(y);
  EXPECT_FLOAT_EQ(x.grad().item(), 1);
  Tensor unused = x;
  for (int i = 0; i < 100000; ++i) unused = relu(unused);  // destroyed without backward
}

TEST(Autograd, RunsOnceAndSaysSo) {
  const Tensor x = leaf(1);
  const Tensor y = relu(x);
  backward(y);
  EXPECT_THROW(backward(y), Error);
}

TEST(Autograd, NeedsOneNumberWithAHistory) {
  EXPECT_THROW(backward(relu(Tensor::full({2}, 1).set_requires_grad())), Error);
  EXPECT_THROW(backward(relu(Tensor::full({1}, 1))), Error);
  const Tensor x = leaf(1);
  const NoGrad off;
  EXPECT_FALSE(relu(x).requires_grad());
}

TEST(Autograd, LetsGoOfWhatItKept) {
  const Tensor x = Tensor::full({1 << 16}, 0.5f).set_requires_grad();
  const Tensor one = Tensor::full({1 << 16}, 1);
  const int64_t before = allocator::statistics(Device::kCpu).in_use;
  {
    Tensor y = x;
    for (int i = 0; i < 8; ++i) y = sigmoid(y);
    EXPECT_GE(allocator::statistics(Device::kCpu).in_use - before, int64_t{8} * x.bytes());
    backward(Tensors{y}, {one});
    // The output and the gradient of x are left, though y still knows its history.
    EXPECT_LE(allocator::statistics(Device::kCpu).in_use - before, int64_t{2} * x.bytes() + 4096);
  }
  x.clear_grad();
  EXPECT_EQ(allocator::statistics(Device::kCpu).in_use, before);
}

TEST(Autograd, KeepsNothingWithoutGradients) {
  const Tensor x = Tensor::full({1 << 16}, 0.5f);
  const int64_t before = allocator::statistics(Device::kCpu).in_use;
  Tensor y = x;
  for (int i = 0; i < 8; ++i) y = sigmoid(y);
  EXPECT_LE(allocator::statistics(Device::kCpu).in_use - before, x.bytes() + 4096);
}

}  // namespace
}  // namespace espalier
