// The tests' own tools must fail when they should.

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "ops/ops.h"
#include "support/device_test.h"
#include "support/expect_close.h"
#include "support/gradients.h"
#include "support/kernel_settings.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"

namespace espalier::test {
namespace {

using Got = std::vector<float>;
using Want = std::vector<double>;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(),
                kInfinity = std::numeric_limits<float>::infinity();

std::string complaint(const ::testing::AssertionResult& result) { return result ? "" : result.message(); }

TEST(ExpectClose, HoldsUpToTheLimitAndNoFurther) {
  EXPECT_TRUE(expect_close(Got{1.0f, 2.02f}, Want{1, 2}, {0.011}));
  EXPECT_FALSE(expect_close(Got{1.0f, 2.02f}, Want{1, 2}, {0.009}));
  EXPECT_TRUE(expect_close(Got{0.01f, 1.0f}, Want{0, 1}, {0.01, 1.1}));
  EXPECT_FALSE(expect_close(Got{0.01f, 1.0f}, Want{0, 1}, {0.01, 0.9}));
}

TEST(ExpectClose, NaNAndInfinityFail) {
  for (const float bad : {kNaN, kInfinity, -kInfinity})
    for (const size_t at : {0u, 1u, 2u}) {
      Got got{1, 2, 3};
      got[at] = bad;
      EXPECT_EQ(complaint(expect_close(got, Want{1, 2, 3}, {1e-5})).rfind(str("element ", at), 0), 0u);
    }
  EXPECT_FALSE(expect_close(Got{1, 2}, Want{1, std::nan("")}, {1e-5}));
  EXPECT_FALSE(expect_close(Got{kNaN, 2}, Want{std::nan(""), 2}, {1e-5}));
}

TEST(ExpectClose, ExactZerosHideNothing) {
  // Without a floor the limit of an exact zero is zero, and 0 / 0 must not win over a real error.
  EXPECT_FALSE(expect_close(Got{0, 5, 3}, Want{0, 2, 3}, {1e-5}));
  EXPECT_FALSE(expect_close(Got{5, 0, 3}, Want{2, 0, 3}, {1e-5}));
  EXPECT_FALSE(expect_close(Got{1e-30f, 2, 3}, Want{0, 2, 3}, {1e-5}));
  EXPECT_TRUE(expect_close(Got{0, 2, 3}, Want{0, 2, 3}, {1e-5}));
}

TEST(ExpectClose, NamesTheWorstElement) {
  const std::string text = complaint(expect_close(Got{1, 2.2f, 9, 4.1f}, Want{1, 2, 3, 4}, {1e-3}));
  EXPECT_EQ(text.rfind("element 2 of 4 is 9, expected 3", 0), 0u) << text;
  EXPECT_NE(text.find("3 are wrong"), std::string::npos) << text;
}

TEST(ExpectClose, RefusesWhatProvesNothing) {
  const auto untrusted = [](const Got& got, const Want& want) {
    return complaint(expect_close(got, want, {1e-5})).rfind("untrusted", 0) == 0;
  };
  EXPECT_TRUE(untrusted({}, {}));
  EXPECT_TRUE(untrusted(Got(20, 0), Want(20, 0)));
  EXPECT_TRUE(untrusted(Got(20, 7), Want(20, 7)));
  Got got(20, 0);
  Want want(20, 0);
  for (int i = 0; i < 3; ++i) want[i] = got[i] = static_cast<float>(i + 1);
  EXPECT_FALSE(untrusted(got, want));
}

TEST(ExpectClose, ComparesShapes) {
  EXPECT_FALSE(expect_close(Got{1, 2}, Want{1, 2, 3}, {1}));
  EXPECT_FALSE(expect_close(random_tensor({2, 3}), random_tensor({3, 2}), {100}));
  EXPECT_TRUE(expect_close(random_tensor({2, 3}), random_tensor({2, 3}), {1e-6}));
}

TEST(ExpectSums, AllowsRoundingAgainstTheTermsAndNoMore) {
  Sums want(2, 100);
  for (int i = 0; i < 50; ++i) want.add(0, 1), want.add(0, -1), want.add(1, 0.5), want.add(1, 0.25);
  // 4 * sqrt(100) * 2^-23 * 100 = 4.8e-4 for the first, whose terms cancel; 1.8e-4 for the second.
  EXPECT_TRUE(expect_sums(Tensor::from(Got{4e-4f, 37.5f}, {2}), want));
  EXPECT_FALSE(expect_sums(Tensor::from(Got{6e-4f, 37.5f}, {2}), want));
  EXPECT_FALSE(expect_sums(Tensor::from(Got{0, 37.5003f}, {2}), want));
  EXPECT_FALSE(expect_sums(Tensor::from(Got{0, kNaN}, {2}), want));
  EXPECT_FALSE(expect_sums(Tensor::from(Got{0}, {1}), want));
}

/// y = factor * x, whose gradient claims to be `claim` of dy.
struct Scaled final : Op {
  float factor = 3, claim = 3;
  const char* name() const override { return "scaled"; }
  Metas infer(std::span<const Meta> in) const override { return {in[0]}; }
  void forward(Ctx& c) const override {
    for (int64_t i = 0; i < c.in[0].elements(); ++i) c.out[0].f32()[i] = factor * c.in[0].f32()[i];
  }
  Tensors backward(Ctx& c, std::span<const Tensor> dy) const override {
    const Tensor dx(c.in[0].shape());
    for (int64_t i = 0; i < dx.elements(); ++i) dx.f32()[i] = claim * dy[0].f32()[i];
    return {dx};
  }
  void channels(ChannelTies&) const override {}
  void attributes(AttributeVisitor&) override {}
  int64_t macs(std::span<const Meta>, std::span<const Meta>) const override { return 0; }
};

::testing::AssertionResult check_scaled(float factor, float claim) {
  auto op = std::make_shared<Scaled>();
  op->factor = factor;
  op->claim = claim;
  const Tensor x = random_tensor({3, 5});
  return gradients_match([&] { return apply1(op, {x}); }, {x});
}

TEST(GradientsMatch, TellsARightGradientFromAWrongOne) {
  EXPECT_TRUE(check_scaled(3, 3));
  EXPECT_FALSE(check_scaled(3, 3.01f));
  EXPECT_FALSE(check_scaled(3, -3));
  EXPECT_FALSE(check_scaled(3, kNaN));
}

TEST(GradientsMatch, RefusesAFunctionThatIgnoresItsInput) {
  EXPECT_EQ(complaint(check_scaled(0, 0)).rfind("untrusted", 0), 0u);
}

TEST(GradientsMatch, NoticesAMissingGradient) {
  const Tensor x = random_tensor({3, 5}), other = random_tensor({3, 5}, Device::kCpu, 2);
  EXPECT_EQ(complaint(gradients_match([&] { return relu(x); }, {x, other})), "input 1 got no gradient");
}

TEST(GradientsMatch, TakesScalars) {
  const Tensor x = random_tensor({3, 5});
  const Tensor labels = Tensor::from(std::vector<int32_t>{0, 4, 2}, {3});
  EXPECT_TRUE(gradients_match([&] { return softmax_cross_entropy(x, labels); }, {x}));
}

TEST(RandomTensor, IsAFunctionOfShapeAndSeed) {
  EXPECT_EQ(random_tensor({4, 5}).to_vector(), random_tensor({4, 5}).to_vector());
  EXPECT_NE(random_tensor({4, 5}).to_vector(), random_tensor({4, 5}, Device::kCpu, 2).to_vector());
}

TEST(KernelSettings, ArePutBack) {
  const bool reference = kernels::reference_only();
  const int threads = kernels::threads();
  {
    const ReferenceKernels off;
    const kernels::Threads three(3);
    EXPECT_TRUE(kernels::reference_only());
    EXPECT_EQ(kernels::threads(), 3);
  }
  EXPECT_EQ(kernels::reference_only(), reference);
  EXPECT_EQ(kernels::threads(), threads);
}

TEST(TemporaryDirectory, IsFreshAndRemovedWithItsContents) {
  std::filesystem::path path;
  {
    const TemporaryDirectory folder, another;
    EXPECT_NE(folder.path(), another.path());
    path = folder.path();
    EXPECT_TRUE(std::filesystem::is_empty(path));
    std::filesystem::create_directory(path / "inner");
    std::ofstream(path / "inner" / "file") << "text";
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace espalier::test
