// What the dense and the depthwise convolution have in common: values and gradients on every shape, any
// number of threads, and the fused form.

#include <gtest/gtest.h>

#include "ops/autograd.h"
#include "ops/conv2d.h"
#include "ops/conv_reference.h"
#include "ops/convolution_cases.h"
#include "ops/ops.h"
#include "support/device_test.h"
#include "support/gradients.h"
#include "support/kernel_settings.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

/// On every device, the dense convolution and the depthwise one.
struct ConvolutionTest : ::testing::TestWithParam<std::tuple<Device, bool>> {
  void SetUp() override { need_device(device()); }
  static Device device() { return std::get<0>(GetParam()); }
  static bool depthwise() { return std::get<1>(GetParam()); }

  /// A case's shape for the op that is tested: a depthwise convolution makes as many channels as it reads.
  static kernels::ConvShape shape(kernels::ConvShape s) {
    if (depthwise()) s.K = s.C;
    return s;
  }

  static Tensor convolve(const Tensor& x, const Tensor& w, const ConvOptions& options) {
    return depthwise() ? depthwise_conv2d(x, w, options) : conv2d(x, w, options);
  }

  struct Results {
    Tensor y, dx, dw;
  };

  struct Problem {
    kernels::ConvShape s;
    Tensor x, w, dy;
    explicit Problem(const kernels::ConvShape& which)
        : s(shape(which)),
          x(random_tensor({s.N, s.H, s.W, s.C}, device(), 1)),
          w(random_tensor(depthwise() ? Shape{s.R, s.S, s.C} : Shape{s.K, s.R, s.S, s.C}, device(), 2)),
          dy(random_tensor({s.N, s.P(), s.Q(), s.K}, device(), 3)) {}

    Results run() const {
      const Tensor a = x.detached().set_requires_grad(), b = w.detached().set_requires_grad();
      const Tensor y = convolve(a, b, {.stride = s.stride, .pad = s.pad});
      backward({y}, {dy});
      return {y.detached(), a.grad(), b.grad()};
    }
  };

  static void expect_the_formula() {
    for (const kernels::ConvShape& which : kConvCases) {
      const Problem problem(which);
      SCOPED_TRACE(describe(problem.s));
      const ConvReference want = conv_reference(problem.s, depthwise(), problem.x, problem.w, problem.dy);
      const Results got = problem.run();
      EXPECT_TRUE(expect_sums(got.y, want.y)) << "y";
      EXPECT_TRUE(expect_sums(got.dx, want.dx)) << "dx";
      EXPECT_TRUE(expect_sums(got.dw, want.dw)) << "dw";
    }
  }
};

std::string name_of(const ::testing::TestParamInfo<std::tuple<Device, bool>>& info) {
  return str(name(std::get<0>(info.param)), std::get<1>(info.param) ? "_depthwise" : "_dense");
}

INSTANTIATE_TEST_SUITE_P(On, ConvolutionTest,
                         ::testing::Combine(::testing::Values(Device::kCpu, Device::kCuda),
                                            ::testing::Bool()),
                         name_of);

TEST_P(ConvolutionTest, MatchesTheFormula) { expect_the_formula(); }

TEST_P(ConvolutionTest, SharedBodiesMatchTheFormula) {
  const ReferenceKernels reference;
  expect_the_formula();
}

#ifdef ESPALIER_HAS_CUDA
struct ConvolutionOnAConsumerCardTest : ConvolutionTest {
  ConsumerCard card;
};
INSTANTIATE_TEST_SUITE_P(On, ConvolutionOnAConsumerCardTest,
                         ::testing::Combine(::testing::Values(Device::kCuda), ::testing::Bool()), name_of);

TEST_P(ConvolutionOnAConsumerCardTest, MatchesTheFormula) { expect_the_formula(); }
#endif

TEST_P(ConvolutionTest, AnyNumberOfThreads) {
  for (const int count : {1, 3}) {
    SCOPED_TRACE(str(count, " threads"));
    const kernels::Threads threads(count);
    expect_the_formula();
  }
}

TEST_P(ConvolutionTest, RepeatsBitForBit) {
  for (const int count : {1, 3}) {
    const kernels::Threads threads(count);
    for (const kernels::ConvShape& which : kConvCases) {
      const Problem problem(which);
      SCOPED_TRACE(str(describe(problem.s), ", ", count, " threads"));
      const Results once = problem.run(), again = problem.run();
      EXPECT_EQ(once.y.to_vector(), again.y.to_vector());
      EXPECT_EQ(once.dx.to_vector(), again.dx.to_vector());
      EXPECT_EQ(once.dw.to_vector(), again.dw.to_vector());
    }
  }
}

TEST_P(ConvolutionTest, GradientsMatchFiniteDifferences) {
  for (const size_t which : {0, 4, 6, 10, 11, 13, 16, 18}) {
    const Problem p(kConvCases[which]);
    SCOPED_TRACE(describe(p.s));
    EXPECT_TRUE(gradients_match([&] { return convolve(p.x, p.w, {.stride = p.s.stride, .pad = p.s.pad}); },
                                {p.x, p.w}));
  }
}

TEST_P(ConvolutionTest, FusedFormEqualsTheChainOfOps) {
  const Activation acts[] = {Activation::none(), Activation::relu(), Activation::relu6(),
                             Activation::leaky(0.1f)};
  for (const size_t which : {1, 4, 7, depthwise() ? 17 : 9})
    for (const Activation act : acts)
      for (const bool with_residual : {false, true}) {
        const Problem p(kConvCases[which]);
        SCOPED_TRACE(str(describe(p.s), " slope ", act.slope, " cap ", act.cap, " residual ", with_residual));
        const Tensor bias = random_tensor({p.s.K}, device(), 4);
        const Tensor residual = random_tensor(p.dy.shape(), device(), 5);
        const auto gradients = [&](const auto& f) {
          Tensors in, out;
          for (const Tensor& t : {p.x, p.w, bias, residual}) in.push_back(t.detached().set_requires_grad());
          const Tensor y = f(in);
          backward({y}, {p.dy});
          out.push_back(y.detached());
          for (const Tensor& t : in)
            if (t.grad().defined()) out.push_back(t.grad());
          return out;
        };
        const Tensors fused = gradients([&](const Tensors& in) {
          return convolve(in[0], in[1],
                          {.stride = p.s.stride,
                           .pad = p.s.pad,
                           .act = act,
                           .bias = in[2],
                           .residual = with_residual ? in[3] : Tensor()});
        });
        const Tensors chain = gradients([&](const Tensors& in) {
          Tensor y = convolve(in[0], in[1], {.stride = p.s.stride, .pad = p.s.pad, .bias = in[2]});
          if (with_residual) y = add(y, in[3]);
          return activation(y, act);
        });
        ASSERT_EQ(fused.size(), chain.size());
        for (size_t i = 0; i < fused.size(); ++i)
          EXPECT_TRUE(expect_close(fused[i], chain[i], {2e-5, 1.0}))
              << "tensor " << i;  // sums in another order
      }
}

TEST_P(ConvolutionTest, BiasIsAddedAndHasAGradient) {
  const Problem p({2, 5, 6, 4, 4, 3, 3, 1, {1, 1, 1, 1}});
  const Tensor bias = random_tensor({4}, device(), 4);
  const auto convolved = [&](const Tensor& b) { return convolve(p.x, p.w, {.pad = p.s.pad, .bias = b}); };
  ConvReference want = conv_reference(p.s, depthwise(), p.x, p.w, p.dy);
  const std::vector<float> b = bias.to_vector();
  for (size_t i = 0; i < want.y.value.size(); ++i) want.y.add(static_cast<int64_t>(i), b[i % 4]);
  EXPECT_TRUE(expect_sums(convolved(bias), want.y));
  EXPECT_TRUE(gradients_match([&] { return convolved(bias); }, {bias}));
}

TEST_P(ConvolutionTest, GradientOfTheImageIsNotComputedUnlessWanted) {
  const Problem p({1, 4, 4, 3, 2, 3, 3, 1, {}});
  const std::shared_ptr<Op> op =
      depthwise() ? std::shared_ptr<Op>(std::make_shared<DepthwiseConv2d>()) : std::make_shared<Conv2d>();
  Ctx c;
  c.in = {p.x, p.w};
  c.needs_grad = {false, true};
  const Tensors gradients = op->backward(c, std::span(&p.dy, 1));
  EXPECT_FALSE(gradients[0].defined());
  EXPECT_TRUE(gradients[1].defined());
}

}  // namespace
}  // namespace espalier::test
