// A batch norm taken apart must be the batch norm: every form against the chain of plain ops, and its
// gradients, those through the statistics included, against central differences.

#include "ops/normed_conv.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "ops/autograd.h"
#include "ops/conv_reference.h"
#include "ops/convolution_cases.h"
#include "ops/ops.h"
#include "support/device_test.h"
#include "support/gradients.h"
#include "support/kernel_settings.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

struct NormedConvTest : DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(NormedConvTest);

/// What one norm needs, with values that make no channel like another.
struct NormTensors {
  Tensor scale, shift, mean, variance;
  NormTensors(int channels, Device device, uint64_t seed)
      : scale(random_tensor({channels}, device, seed)),
        shift(random_tensor({channels}, device, seed + 1)),
        mean(random_tensor({channels}, device, seed + 2)),
        variance(Tensor::full({channels}, 0.7f, device)) {}
  NormTensors copy() const {
    NormTensors c = *this;
    c.scale = scale.clone();
    c.shift = shift.clone();
    c.mean = mean.clone();
    c.variance = variance.clone();
    return c;
  }
};

/// The first convolution, its norm and activation, the second convolution and its norm.
struct Chain {
  kernels::ConvShape first, second;
  bool second_depthwise;
  Activation act;
  Tensor x, w1, w2;
  NormTensors norm1, norm2;
  bool whole = false;  ///< Normalize::whole

  Chain(const kernels::ConvShape& s, bool depthwise, Activation act, Device device)
      : first({s.N, s.H, s.W, 5, s.C, 1, 1, 1, {}}),
        second(s),
        second_depthwise(depthwise),
        act(act),
        x(random_tensor({s.N, s.H, s.W, 5}, device, 1)),
        w1(random_tensor({s.C, 1, 1, 5}, device, 2)),
        w2(random_tensor(depthwise ? Shape{s.R, s.S, s.C} : Shape{s.K, s.R, s.S, s.C}, device, 3)),
        norm1(s.C, device, 10),
        norm2(depthwise ? s.C : s.K, device, 20) {}

  int out() const { return second_depthwise ? second.C : second.K; }

  Tensor plain(const Tensors& in, const NormTensors& n1, const NormTensors& n2,
               const Tensor& residual) const {
    Tensor y = batch_norm(conv2d(in[0], in[1]), in[3], in[4], n1.mean, n1.variance, {.act = act});
    const ConvOptions o{.stride = second.stride, .pad = second.pad};
    y = second_depthwise ? depthwise_conv2d(y, in[2], o) : conv2d(y, in[2], o);
    return batch_norm(y, in[5], in[6], n2.mean, n2.variance, {.act = act, .residual = residual});
  }

  Tensor spread(const Tensors& in, const NormTensors& n1, const NormTensors& n2,
                const Tensor& residual) const {
    auto measuring = std::make_shared<NormedConv2d>();
    measuring->measures = true;
    const Tensors a = espalier::apply(measuring, {in[0], in[1]});
    std::shared_ptr<NormedConvolution> normed;
    if (second_depthwise)
      normed = std::make_shared<NormedDepthwiseConv2d>();
    else
      normed = std::make_shared<NormedConv2d>();
    normed->stride = second.stride;
    normed->pad = second.pad;
    normed->has_norm = normed->measures = true;
    normed->norm.act = act;
    const Tensors b = espalier::apply(normed, {a[0], in[2], a[1], in[3], in[4], n1.mean, n1.variance});
    auto normalize = std::make_shared<Normalize>();
    normalize->norm.act = act;
    normalize->has_residual = residual.defined();
    normalize->whole = whole;
    Tensors last = {b[0], b[1], in[5], in[6], n2.mean, n2.variance};
    if (residual.defined()) last.push_back(residual);
    return apply1(normalize, last);
  }

  /// Output, gradients of all inputs, running statistics.
  template <class Form>
  Tensors results(const Form& form, bool with_residual) const {
    const Device device = x.device();
    const NormTensors n1 = norm1.copy(), n2 = norm2.copy();
    Tensors in;
    for (const Tensor& t : {x, w1, w2, norm1.scale, norm1.shift, norm2.scale, norm2.shift})
      in.push_back(t.clone().set_requires_grad());
    Tensor residual;
    const Shape y_shape{second.N, second.P(), second.Q(), out()};
    if (with_residual) in.push_back(residual = random_tensor(y_shape, device, 4).set_requires_grad());
    const Tensor y = form(in, n1, n2, residual);
    backward({y}, {random_tensor(y_shape, device, 5)});
    Tensors out = {y.detached(), n1.mean, n1.variance, n2.mean, n2.variance};
    for (const Tensor& t : in) out.push_back(t.grad());
    return out;
  }
};

/// The chain of plain ops sums in another order: against the largest value, and against 1 where all that is
/// left is rounding (a shift that the next norm takes away has gradient 0).
double largest_or_one(const Tensor& want) {
  double largest = 1;
  for (float v : want.to_vector()) largest = std::max(largest, std::abs(double{v}));
  return largest;
}

void expect_same(const Tensors& got, const Tensors& want) {
  const char* names[] = {"y",    "mean 1",   "variance 1", "mean 2",   "variance 2", "dx",       "dw 1",
                         "dw 2", "dscale 1", "dshift 1",   "dscale 2", "dshift 2",   "dresidual"};
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_TRUE(expect_close(got[i], want[i], {2e-4, largest_or_one(want[i])})) << names[i];
}

struct Variant {
  Activation act;
  bool residual;
};
constexpr Variant kVariants[] = {
    {Activation::none(), true}, {Activation::relu6(), false}, {Activation::leaky(0.1f), true}};

void compare_forms(Device device, bool depthwise) {
  for (const kernels::ConvShape& dense : kConvCases) {
    kernels::ConvShape s = dense;
    if (s.N * s.P() * s.Q() < 16) continue;  // statistics of a handful of values are ill-conditioned
    if (depthwise) s.K = s.C;
    // One factor a channel between two norms does nothing: all of its gradients are rounding.
    if (depthwise && s.R * s.S == 1) continue;
    for (const auto& [act, residual] : kVariants) {
      SCOPED_TRACE(str(describe(s), depthwise ? " depthwise" : "", " slope ", act.slope));
      Chain chain(s, depthwise, act, device);
      const auto plain = [&](auto&&... a) { return chain.plain(a...); };
      const auto spread = [&](auto&&... a) { return chain.spread(a...); };
      const TrainingMode training;
      const Tensors want = chain.results(plain, residual);
      for (const bool whole : {false, true}) {
        SCOPED_TRACE(whole ? "whole" : "in parts");
        chain.whole = whole;
        expect_same(chain.results(spread, residual), want);
      }
    }
  }
}

/// A depthwise convolution of what no norm made, whose own moments are taken: its gradient is completed
/// where it lies, and all steps use it.
void compare_without_input_norm(Device device) {
  const TrainingMode training;
  for (kernels::ConvShape s : kConvCases) {
    s.K = s.C;
    if (s.N * s.P() * s.Q() < 16 || s.R * s.S == 1) continue;  // as above
    SCOPED_TRACE(describe(s));
    const Tensor x = random_tensor({s.N, s.H, s.W, s.C}, device, 1),
                 w = random_tensor({s.R, s.S, s.C}, device, 2),
                 dy = random_tensor({s.N, s.P(), s.Q(), s.C}, device, 3);
    const NormTensors norm(s.C, device, 10);
    const auto plain = [&](const Tensors& in, const NormTensors& n) {
      const Tensor y = depthwise_conv2d(in[0], in[1], {.stride = s.stride, .pad = s.pad});
      return batch_norm(y, in[2], in[3], n.mean, n.variance, {.act = Activation::relu6()});
    };
    const auto spread = [&](const Tensors& in, const NormTensors& n) {
      auto measuring = std::make_shared<NormedDepthwiseConv2d>();
      measuring->stride = s.stride;
      measuring->pad = s.pad;
      measuring->measures = true;
      auto normalize = std::make_shared<Normalize>();
      normalize->norm.act = Activation::relu6();
      const Tensors y = espalier::apply(measuring, {in[0], in[1]});
      return apply1(normalize, {y[0], y[1], in[2], in[3], n.mean, n.variance});
    };
    const auto gradients = [&](const auto& form) {
      Tensors in, out;
      for (const Tensor& t : {x, w, norm.scale, norm.shift}) in.push_back(t.clone().set_requires_grad());
      backward({form(in, norm.copy())}, {dy});
      for (const Tensor& t : in) out.push_back(t.grad());
      return out;
    };
    const Tensors got = gradients(spread), want = gradients(plain);
    const char* names[] = {"dx", "dw", "dscale", "dshift"};
    for (size_t i = 0; i < want.size(); ++i)
      EXPECT_TRUE(expect_close(got[i], want[i], {2e-4, largest_or_one(want[i])})) << names[i];
  }
}

TEST_P(NormedConvTest, DenseEqualsTheChainOfOps) { compare_forms(GetParam(), false); }
TEST_P(NormedConvTest, DepthwiseEqualsTheChainOfOps) { compare_forms(GetParam(), true); }
TEST_P(NormedConvTest, DepthwiseWithoutInputNormEqualsTheChainOfOps) {
  compare_without_input_norm(GetParam());
}

#ifdef ESPALIER_HAS_CUDA
struct NormedConvOnAConsumerCardTest : DeviceTest {
  ConsumerCard card;
};
ESPALIER_TEST_ON_A_GPU(NormedConvOnAConsumerCardTest);

TEST_P(NormedConvOnAConsumerCardTest, DenseEqualsTheChainOfOps) { compare_forms(GetParam(), false); }
TEST_P(NormedConvOnAConsumerCardTest, DepthwiseEqualsTheChainOfOps) { compare_forms(GetParam(), true); }
TEST_P(NormedConvOnAConsumerCardTest, DepthwiseWithoutInputNormEqualsTheChainOfOps) {
  compare_without_input_norm(GetParam());
}
#endif

TEST_P(NormedConvTest, SharedBodiesEqualTheChainOfOps) {
  const ReferenceKernels reference;
  const kernels::ConvShape s{4, 12, 11, 37, 24, 3, 3, 1, {1, 1, 1, 1}};
  for (const bool depthwise : {false, true}) {
    kernels::ConvShape shape = s;
    if (depthwise) shape.K = shape.C;
    Chain chain(shape, depthwise, Activation::relu6(), GetParam());
    const auto plain = [&](auto&&... a) { return chain.plain(a...); };
    const auto spread = [&](auto&&... a) { return chain.spread(a...); };
    const TrainingMode training;
    for (const bool residual : {false, true})
      for (const bool whole : {false, true}) {
        SCOPED_TRACE(str(residual, whole));
        chain.whole = whole;
        expect_same(chain.results(spread, residual), chain.results(plain, residual));
      }
  }
}

TEST_P(NormedConvTest, UsesRunningStatisticsOutsideTraining) {
  for (const bool depthwise : {false, true}) {
    Chain chain({2, 9, 8, 37, depthwise ? 37 : 12, 3, 3, 2, {1, 1, 1, 1}}, depthwise, Activation::relu6(),
                GetParam());
    chain.whole = depthwise;  // either way the statistics are constants
    const auto plain = [&](auto&&... a) { return chain.plain(a...); };
    const auto spread = [&](auto&&... a) { return chain.spread(a...); };
    Tensors got = chain.results(spread, true), want = chain.results(plain, true);
    for (Tensors* t : {&got, &want}) t->erase(t->begin() + 1, t->begin() + 5);
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_TRUE(expect_close(got[i], want[i], {1e-4, 10.0})) << "tensor " << i;
  }
}

TEST_P(NormedConvTest, RepeatsBitForBit) {
  const kernels::Threads threads(3);
  const TrainingMode training;
  for (const bool depthwise : {false, true}) {
    const Chain chain({4, 12, 11, 37, 37, depthwise ? 3 : 1, depthwise ? 3 : 1, 1, {}}, depthwise,
                      Activation::relu6(), GetParam());
    const auto spread = [&](auto&&... a) { return chain.spread(a...); };
    const Tensors once = chain.results(spread, true), again = chain.results(spread, true);
    for (size_t i = 0; i < once.size(); ++i) EXPECT_EQ(once[i].to_vector(), again[i].to_vector()) << i;
  }
}

TEST_P(NormedConvTest, MomentsAreMeanAndVariance) {
  const Tensor x = random_tensor({3, 7, 5, 6}, GetParam(), 1), w = random_tensor({9, 1, 1, 6}, GetParam(), 2);
  auto op = std::make_shared<NormedConv2d>();
  op->measures = true;
  const Tensors out = espalier::apply(op, {x, w});
  const std::vector<float> y = out[0].to_vector();
  std::vector<double> want(18);
  const double count = 3 * 7 * 5;
  for (size_t i = 0; i < y.size(); ++i) want[i % 9] += y[i] / count;
  for (size_t i = 0; i < y.size(); ++i)
    want[9 + i % 9] += (y[i] - want[i % 9]) * (y[i] - want[i % 9]) / count;
  EXPECT_TRUE(expect_close(out[1].to_vector(), want, {1e-5, 1.0}));  // sums of 105 terms
}

TEST_P(NormedConvTest, GradientsMatchFiniteDifferences) {
  const TrainingMode training;
  for (const bool depthwise : {false, true}) {
    const kernels::ConvShape s{
        2, 4, 5, 3, 3, depthwise ? 3 : 1, depthwise ? 3 : 1, 1, depthwise ? Padding{1, 1, 1, 1} : Padding{}};
    // A smooth activation: of differences of 0.01 near a kink of normalised values too many are wrong.
    const Chain chain(s, depthwise, Activation::none(), GetParam());
    // The first shift is left out: without an activation the second norm takes it away.
    const Tensors all = {chain.x,           chain.w1,          chain.w2,         chain.norm1.scale,
                         chain.norm1.shift, chain.norm2.scale, chain.norm2.shift};
    EXPECT_TRUE(gradients_match(
        [&] { return sigmoid(chain.spread(all, chain.norm1.copy(), chain.norm2.copy(), {})); },
        {all[0], all[1], all[2], all[3], all[5], all[6]}));
  }
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(NormedConvInput, ErrorsSayWhatIsAndWhatWasExpected) {
  auto op = std::make_shared<NormedConv2d>();
  op->has_norm = true;
  const Tensor x({1, 4, 4, 3}), w({2, 1, 1, 3}), c({3});
  EXPECT_NE(error_of([&] { espalier::apply(op, {x, w}); }).find("2 inputs, 7 expected"), std::string::npos);
  EXPECT_NE(error_of([&] {
              espalier::apply(op, {x, w, c, c, c, c, c});
            }).find("moments are [3], expected [2,3]"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              espalier::apply(op, {x, w, Tensor({2, 3}), c, Tensor({2}), c, c});
            }).find("input 4"),
            std::string::npos);
}

TEST(NormedConvAttributes, SurviveJson) {
  NormedDepthwiseConv2d op;
  op.stride = 2;
  op.pad = {1, 2, 3, 4};
  op.has_norm = op.measures = true;
  op.norm = {.eps = 1e-3f, .momentum = 0.2f, .act = Activation::relu6()};
  NormedDepthwiseConv2d copy;
  attributes_from_json(copy, attributes_to_json(op));
  EXPECT_EQ(attributes_to_json(copy), attributes_to_json(op));
  Normalize last, other;
  last.has_residual = last.whole = true;
  attributes_from_json(other, attributes_to_json(last));
  EXPECT_TRUE(other.has_residual && other.whole);
}

}  // namespace
}  // namespace espalier::test
