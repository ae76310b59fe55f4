#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "ops/autograd.h"
#include "ops/conv_reference.h"
#include "ops/linear.h"
#include "ops/ops.h"
#include "support/device_test.h"
#include "support/gradients.h"
#include "support/kernel_settings.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

struct LinearTest : DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(LinearTest);

struct Case {
  int n, c, k;
};
// The last has rows enough for the blocked product, the one before as many as Winograd's method asks for.
constexpr Case kCases[] = {{1, 1, 1},    {2, 37, 5},   {5, 64, 10},  {3, 100, 33},
                           {32, 80, 48}, {70, 80, 48}, {700, 37, 15}};

void expect_formula(Device device) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(str(c.n, " rows, ", c.c, " to ", c.k));
    const Tensor x = random_tensor({c.n, c.c}, device, 1).set_requires_grad();
    const Tensor w = random_tensor({c.k, c.c}, device, 2).set_requires_grad();
    const Tensor dy = random_tensor({c.n, c.k}, device, 3);
    const Tensor y = linear(x, w);
    backward({y}, {dy});
    const ConvReference want = conv_reference({c.n, 1, 1, c.c, c.k, 1, 1, 1, {}}, false, x, w, dy);
    EXPECT_TRUE(expect_sums(y, want.y)) << "y";
    EXPECT_TRUE(expect_sums(x.grad(), want.dx)) << "dx";
    EXPECT_TRUE(expect_sums(w.grad(), want.dw)) << "dw";
  }
}

TEST_P(LinearTest, MatchesTheFormula) { expect_formula(GetParam()); }

TEST_P(LinearTest, SharedBodiesMatchTheFormula) {
  const ReferenceKernels reference;
  expect_formula(GetParam());
}

TEST_P(LinearTest, GradientsMatchFiniteDifferences) {
  for (const Activation act : {Activation::none(), Activation::relu6(), Activation::leaky(0.1f)}) {
    const Tensor x = random_tensor({3, 7}, GetParam(), 1), w = random_tensor({5, 7}, GetParam(), 2);
    const Tensor bias = random_tensor({5}, GetParam(), 3);
    EXPECT_TRUE(gradients_match([&] { return linear(x, w, bias, act); }, {x, w, bias}));
    EXPECT_TRUE(gradients_match([&] { return linear(x, w, {}, act); }, {x, w}));
  }
}

TEST_P(LinearTest, FusedFormEqualsTheChainOfOps) {
  const Tensor x = random_tensor({4, 37}, GetParam(), 1), w = random_tensor({9, 37}, GetParam(), 2);
  const Tensor bias = random_tensor({9}, GetParam(), 3);
  EXPECT_TRUE(expect_close(linear(x, w, bias, Activation::relu()), relu(linear(x, w, bias)), {2e-5, 1.0}));
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(LinearInput, ErrorsSayWhatIsAndWhatWasExpected) {
  const Tensor x({2, 3});
  EXPECT_EQ(error_of([&] {
              linear(x, Tensor({5, 4}));
            }),
            "linear: x has 3 channels but w expects 4 (x [2,3], w [5,4])");
  EXPECT_NE(error_of([&] {
              linear(Tensor({2, 1, 1, 3}), Tensor({5, 3}));
            }).find("x is [2,1,1,3]"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              linear(x, Tensor({5, 3}), Tensor({4}));
            }).find("bias is [4], expected [5]"),
            std::string::npos);
}

TEST(LinearAttributes, SurviveJson) {
  Linear op;
  op.act = Activation::relu6();
  op.has_bias = true;
  Linear copy;
  attributes_from_json(copy, attributes_to_json(op));
  EXPECT_EQ(copy.act, op.act);
  EXPECT_TRUE(copy.has_bias);
}

}  // namespace
}  // namespace espalier::test
