#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "ops/autograd.h"
#include "ops/channel_ties.h"
#include "ops/conv2d.h"
#include "ops/conv_reference.h"
#include "ops/convolution_cases.h"
#include "ops/ops.h"
#include "support/device_test.h"
#include "support/gradients.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

struct DepthwiseConv2dTest : DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(DepthwiseConv2dTest);

kernels::ConvShape depthwise(kernels::ConvShape s) {
  s.K = s.C;
  return s;
}

struct Problem {
  kernels::ConvShape s;
  Tensor x, w, dy;
  Problem(const kernels::ConvShape& dense, Device device)
      : s(depthwise(dense)),
        x(random_tensor({s.N, s.H, s.W, s.C}, device, 1)),
        w(random_tensor({s.R, s.S, s.C}, device, 2)),
        dy(random_tensor({s.N, s.P(), s.Q(), s.K}, device, 3)) {}

  struct Results {
    Tensor y, dx, dw;
  };
  Results run() const {
    const Tensor a = x.detached(), b = w.detached();
    a.set_requires_grad();
    b.set_requires_grad();
    const Tensor y = depthwise_conv2d(a, b, {.stride = s.stride, .pad = s.pad});
    backward({y}, {dy});
    return {y.detached(), a.grad(), b.grad()};
  }
};

TEST_P(DepthwiseConv2dTest, MatchesTheFormula) {
  for (const kernels::ConvShape& dense : kConvCases) {
    const kernels::ConvShape s = depthwise(dense);
    SCOPED_TRACE(describe(s));
    const Problem problem(s, GetParam());
    const ConvReference want = conv_reference(s, true, problem.x, problem.w, problem.dy);
    const Problem::Results got = problem.run();
    EXPECT_TRUE(expect_sums(got.y, want.y)) << "y";
    EXPECT_TRUE(expect_sums(got.dx, want.dx)) << "dx";
    EXPECT_TRUE(expect_sums(got.dw, want.dw)) << "dw";
  }
}

TEST_P(DepthwiseConv2dTest, SharedBodiesMatchTheFormula) {
  const ReferenceKernels reference;
  for (const kernels::ConvShape& dense : kConvCases) {
    const kernels::ConvShape s = depthwise(dense);
    SCOPED_TRACE(describe(s));
    const Problem problem(s, GetParam());
    const ConvReference want = conv_reference(s, true, problem.x, problem.w, problem.dy);
    const Problem::Results got = problem.run();
    EXPECT_TRUE(expect_sums(got.y, want.y)) << "y";
    EXPECT_TRUE(expect_sums(got.dx, want.dx)) << "dx";
    EXPECT_TRUE(expect_sums(got.dw, want.dw)) << "dw";
  }
}

TEST_P(DepthwiseConv2dTest, AnyNumberOfThreads) {
  for (const int count : {1, 3}) {
    const Threads threads(count);
    for (const kernels::ConvShape& dense : kConvCases) {
      const kernels::ConvShape s = depthwise(dense);
      SCOPED_TRACE(str(describe(s), ", ", count, " threads"));
      const Problem problem(s, GetParam());
      const ConvReference want = conv_reference(s, true, problem.x, problem.w, problem.dy);
      const Problem::Results got = problem.run();
      EXPECT_TRUE(expect_sums(got.y, want.y)) << "y";
      EXPECT_TRUE(expect_sums(got.dx, want.dx)) << "dx";
      EXPECT_TRUE(expect_sums(got.dw, want.dw)) << "dw";
    }
  }
}

TEST_P(DepthwiseConv2dTest, RepeatsBitForBit) {
  for (const int count : {1, 3}) {
    const Threads threads(count);
    for (const kernels::ConvShape& dense : kConvCases) {
      const kernels::ConvShape s = depthwise(dense);
      SCOPED_TRACE(str(describe(s), ", ", count, " threads"));
      const Problem problem(s, GetParam());
      const Problem::Results once = problem.run(), again = problem.run();
      EXPECT_EQ(once.y.to_vector(), again.y.to_vector());
      EXPECT_EQ(once.dx.to_vector(), again.dx.to_vector());
      EXPECT_EQ(once.dw.to_vector(), again.dw.to_vector());
    }
  }
}

TEST_P(DepthwiseConv2dTest, GradientsMatchFiniteDifferences) {
  for (const kernels::ConvShape& dense : {kConvCases[0], kConvCases[4], kConvCases[6], kConvCases[10],
                                          kConvCases[13], kConvCases[16], kConvCases[18]}) {
    const kernels::ConvShape s = depthwise(dense);
    SCOPED_TRACE(describe(s));
    const Problem p(s, GetParam());
    EXPECT_TRUE(gradients_match(
        [&] { return depthwise_conv2d(p.x, p.w, {.stride = s.stride, .pad = s.pad}); }, {p.x, p.w}));
  }
}

TEST_P(DepthwiseConv2dTest, FusedFormEqualsTheChainOfOps) {
  const Activation acts[] = {Activation::none(), Activation::relu(), Activation::relu6(),
                             Activation::leaky(0.1f)};
  for (const kernels::ConvShape& dense : {kConvCases[1], kConvCases[4], kConvCases[7], kConvCases[17]})
    for (const Activation act : acts)
      for (const bool with_residual : {false, true}) {
        const kernels::ConvShape s = depthwise(dense);
        SCOPED_TRACE(str(describe(s), " slope ", act.slope, " cap ", act.cap, " residual ", with_residual));
        const Problem p(s, GetParam());
        const Tensor bias = random_tensor({s.K}, GetParam(), 4);
        const Tensor residual = random_tensor(p.dy.shape(), GetParam(), 5);
        const Tensors leaves = {p.x, p.w, bias, residual};
        const auto gradients = [&](const auto& f) {
          Tensors in, out;
          for (const Tensor& t : leaves) in.push_back(t.detached().set_requires_grad());
          const Tensor y = f(in);
          backward({y}, {p.dy});
          out.push_back(y.detached());
          for (const Tensor& t : in)
            if (t.grad().defined()) out.push_back(t.grad());
          return out;
        };
        const Tensors fused = gradients([&](const Tensors& in) {
          return depthwise_conv2d(in[0], in[1],
                                  {.stride = s.stride,
                                   .pad = s.pad,
                                   .act = act,
                                   .bias = in[2],
                                   .residual = with_residual ? in[3] : Tensor()});
        });
        const Tensors chain = gradients([&](const Tensors& in) {
          Tensor y = depthwise_conv2d(in[0], in[1], {.stride = s.stride, .pad = s.pad, .bias = in[2]});
          if (with_residual) y = add(y, in[3]);
          return activation(y, act);
        });
        ASSERT_EQ(fused.size(), chain.size());
        for (size_t i = 0; i < fused.size(); ++i)
          EXPECT_TRUE(expect_close(fused[i], chain[i], {2e-5, 1.0}))
              << "tensor " << i;  // sums in another order
      }
}

TEST_P(DepthwiseConv2dTest, BiasIsAddedAndHasAGradient) {
  const Tensor x = random_tensor({2, 5, 6, 4}, GetParam(), 1), w = random_tensor({3, 3, 4}, GetParam(), 2);
  const Tensor bias = random_tensor({4}, GetParam(), 3);
  const Tensor plain = depthwise_conv2d(x, w, {.pad = {1, 1, 1, 1}}),
               y = depthwise_conv2d(x, w, {.pad = {1, 1, 1, 1}, .bias = bias});
  const std::vector<float> a = plain.to_vector(), b = bias.to_vector();
  std::vector<double> want(a.size());
  for (size_t i = 0; i < a.size(); ++i) want[i] = double{a[i]} + b[i % 4];
  EXPECT_TRUE(expect_close(y.to_vector(), want, {2e-6, 1.0}));  // against the size of the terms
  EXPECT_TRUE(gradients_match(
      [&] {
        return depthwise_conv2d(x, w, {.pad = {1, 1, 1, 1}, .bias = bias});
      },
      {bias}));
}

TEST_P(DepthwiseConv2dTest, GradientOfTheImageIsNotComputedUnlessWanted) {
  auto op = std::make_shared<DepthwiseConv2d>();
  Ctx c;
  c.in = {random_tensor({1, 4, 4, 3}, GetParam(), 1), random_tensor({3, 3, 3}, GetParam(), 2)};
  c.needs_grad = {false, true};
  const Tensor dy = random_tensor({1, 2, 2, 3}, GetParam(), 3);
  const Tensors dx = op->backward(c, std::span(&dy, 1));
  EXPECT_FALSE(dx[0].defined());
  EXPECT_TRUE(dx[1].defined());
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(DepthwiseConv2dInput, ErrorsSayWhatIsAndWhatWasExpected) {
  const Tensor x({1, 4, 5, 3}), w({3, 3, 3});
  EXPECT_EQ(error_of([&] {
              depthwise_conv2d(x, Tensor({3, 3, 4}));
            }),
            "depthwise_conv2d: x has 3 channels but w has 4 (x [1,4,5,3], w [3,3,4]); one filter a channel "
            "is needed");
  EXPECT_NE(error_of([&] {
              depthwise_conv2d(x, Tensor({2, 3, 3, 3}));
            }).find("w is [2,3,3,3]"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              depthwise_conv2d(x, Tensor({7, 3, 3}));
            }).find("a 7x3 filter does not fit"),
            std::string::npos);
  EXPECT_NE(
      error_of([&] { depthwise_conv2d(x, w, {.bias = Tensor({2})}); }).find("bias is [2], expected [3]"),
      std::string::npos);
}

TEST(DepthwiseConv2dAttributes, SurviveJson) {
  DepthwiseConv2d op;
  op.stride = 2;
  op.pad = {1, 2, 3, 4};
  op.act = Activation::relu6();
  op.has_bias = true;
  DepthwiseConv2d copy;
  attributes_from_json(copy, attributes_to_json(op));
  EXPECT_EQ(copy.stride, 2);
  EXPECT_EQ(copy.pad, op.pad);
  EXPECT_EQ(copy.act, op.act);
  EXPECT_TRUE(copy.has_bias);
  EXPECT_FALSE(copy.has_residual);
}

TEST(DepthwiseConv2dCost, CountsMultiplications) {
  const Metas in = {{{2, 5, 6, 4}}, {{3, 3, 4}}};
  DepthwiseConv2d op;
  op.pad = {1, 1, 1, 1};
  EXPECT_EQ(op.macs(in, op.infer(in)), 2 * 5 * 6 * 4 * 9);
}

}  // namespace
}  // namespace espalier::test
