#include "ops/batch_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/error.h"
#include "ops/autograd.h"
#include "ops/ops.h"
#include "support/device_test.h"
#include "support/expect_close.h"
#include "support/gradients.h"
#include "support/kernel_settings.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

struct BatchNormTest : DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(BatchNormTest);

struct Case {
  Shape x;
  Activation act;
  bool residual;
};

/// Rows around the parts of the reductions, channels around the vectors and tiles.
const Case kCases[] = {
    {{2, 5, 6, 3}, Activation::none(), false},        {{1, 1, 2, 1}, Activation::none(), true},
    {{2, 3, 5, 31}, Activation::relu(), false},       {{3, 5, 1, 32}, Activation::relu6(), true},
    {{2, 7, 5, 33}, Activation::leaky(0.1f), true},   {{1, 31, 33, 37}, Activation::relu6(), false},
    {{4, 1, 1, 255}, Activation::leaky(0.2f), false}, {{2, 4, 3, 256}, Activation::relu(), true},
    {{2, 3, 3, 257}, Activation::relu6(), true},      {{3, 40, 41, 5}, Activation::relu6(), false},
    {{17, 6}, Activation{-0.5f, 0.4f}, true},         {{8, 31, 17, 2}, Activation::none(), true},
};

std::string describe(const Case& c) {
  return str(c.x, " slope ", c.act.slope, " cap ", c.act.cap, c.residual ? " residual" : "");
}

/// The tensors of one call. Statistics are far from what the batch gives, so that mixing them up shows.
struct Problem {
  Case c;
  Tensor x, scale, shift, mean, variance, residual, dy;
  float eps = 1e-3f, momentum = 0.3f;

  Problem(const Case& c, Device device, float offset = 0)
      : c(c),
        x(random_tensor(c.x, device, 1)),
        scale(random_tensor({c.x.back()}, device, 2)),
        shift(random_tensor({c.x.back()}, device, 3)),
        mean(random_tensor({c.x.back()}, device, 4)),
        variance(random_tensor({c.x.back()}, device, 7)),
        residual(c.residual ? random_tensor(c.x, device, 5) : Tensor()),
        dy(random_tensor(c.x, device, 6)) {
    const auto change = [](const Tensor& t, const auto& f) {
      std::vector<float> values = t.to_vector();
      for (float& v : values) v = f(v);
      t.set(values);
    };
    change(variance, [](float v) { return 2 + std::abs(v); });
    if (offset != 0) change(x, [offset](float v) { return v + offset; });
  }

  Tensor run() const {
    return batch_norm(x, scale, shift, mean, variance,
                      {.eps = eps, .momentum = momentum, .act = c.act, .residual = residual});
  }

  /// Output, gradients of x, scale, shift and residual, running mean and variance.
  Tensors results() const {
    Problem p = *this;
    for (Tensor* t : {&p.x, &p.scale, &p.shift, &p.mean, &p.variance, &p.residual})
      if (t->defined()) *t = t->clone();
    for (const Tensor& t : {p.x, p.scale, p.shift}) t.set_requires_grad();
    if (c.residual) p.residual.set_requires_grad();
    const Tensor y = p.run();
    backward({y}, {dy});
    Tensors out = {y.detached(), p.x.grad(), p.scale.grad(), p.shift.grad(), p.mean, p.variance};
    if (c.residual) out.push_back(p.residual.grad());
    return out;
  }
};

const char* const kNames[] = {"y", "dx", "dscale", "dshift", "mean", "variance", "dresidual"};

/// The formulas in double. Each result is a sum whose terms' absolute values are kept for the tolerance.
std::vector<Sums> reference(const Problem& p, bool training) {
  const int C = p.c.x.back();
  const int64_t rows = p.x.elements() / C;
  const std::vector<float> x = p.x.to_vector(), scale = p.scale.to_vector(), shift = p.shift.to_vector(),
                           running_mean = p.mean.to_vector(), running_variance = p.variance.to_vector(),
                           dy = p.dy.to_vector();
  const std::vector<float> r = p.c.residual ? p.residual.to_vector() : std::vector<float>(x.size());
  Sums y(p.x.elements(), 4), dx(p.x.elements(), rows), dscale(C, rows), dshift(C, rows), mean(C, rows),
      variance(C, rows), dresidual(p.x.elements(), 1);
  for (int c = 0; c < C; ++c) {
    const auto at = [&](int64_t i) { return static_cast<size_t>(i * C + c); };
    double mu = 0, var = 0, size = 0;
    for (int64_t i = 0; i < rows; ++i) mu += x[at(i)], size += std::abs(x[at(i)]);
    mu /= static_cast<double>(rows), size /= static_cast<double>(rows);
    for (int64_t i = 0; i < rows; ++i) var += (x[at(i)] - mu) * (x[at(i)] - mu);
    const double unbiased = var / static_cast<double>(rows > 1 ? rows - 1 : 1);
    var /= static_cast<double>(rows);
    if (!training) mu = running_mean[c], var = running_variance[c];
    mean.value[c] = training ? (1 - double{p.momentum}) * running_mean[c] + p.momentum * mu : running_mean[c];
    variance.value[c] = training ? (1 - double{p.momentum}) * running_variance[c] + p.momentum * unbiased
                                 : running_variance[c];
    mean.magnitude[c] = std::abs(running_mean[c]) + size;
    variance.magnitude[c] = 1 + variance.value[c];
    const double inverse = 1 / std::sqrt(var + double{p.eps});
    std::vector<double> g(static_cast<size_t>(rows)), normal(g.size());
    for (int64_t i = 0; i < rows; ++i) {
      const auto n = static_cast<size_t>(i);
      normal[n] = (x[at(i)] - mu) * inverse;
      const double v = normal[n] * scale[c] + shift[c] + r[at(i)];
      y.value[at(i)] = std::min<double>(v > 0 ? v : p.c.act.slope * v, p.c.act.cap);
      y.magnitude[at(i)] = (std::abs(x[at(i)]) + size + std::abs(mu)) * inverse * std::abs(scale[c]) +
                           std::abs(shift[c]) + std::abs(r[at(i)]);
      const double slope = v > 0 ? 1.0 : double{p.c.act.slope};
      g[n] = slope * v < p.c.act.cap ? slope * dy[at(i)] : 0.0;
      dshift.add(c, g[n]);
      dscale.add(c, g[n] * normal[n]);
      dresidual.add(at(i), g[n]);
    }
    for (int64_t i = 0; i < rows; ++i) {
      const auto n = static_cast<size_t>(i);
      const double factor = scale[c] * inverse;
      dx.add(at(i), factor * g[n]);
      if (!training) continue;
      const double share = factor / static_cast<double>(rows);
      dx.add(at(i), -share * dshift.value[c]);
      dx.add(at(i), -share * normal[n] * dscale.value[c]);
      dx.magnitude[at(i)] +=
          std::abs(share) * (dshift.magnitude[c] + std::abs(normal[n]) * dscale.magnitude[c]);
    }
  }
  std::vector<Sums> out = {y, dx, dscale, dshift, mean, variance};
  if (p.c.residual) out.push_back(dresidual);
  return out;
}

void expect_the_formula(Device device, bool training) {
  const TrainingMode mode(training);
  for (const Case& c : kCases) {
    SCOPED_TRACE(describe(c));
    const Problem p(c, device);
    const std::vector<Sums> want = reference(p, training);
    const Tensors got = p.results();
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(expect_sums(got[i], want[i])) << kNames[i];
  }
}

TEST_P(BatchNormTest, MatchesTheFormulaInTraining) { expect_the_formula(GetParam(), true); }
TEST_P(BatchNormTest, MatchesTheFormulaWithFrozenStatistics) { expect_the_formula(GetParam(), false); }

TEST_P(BatchNormTest, SharedBodiesMatchTheFormula) {
  const ReferenceKernels reference;
  expect_the_formula(GetParam(), true);
  expect_the_formula(GetParam(), false);
}

TEST_P(BatchNormTest, LeavesRunningStatisticsOutsideTraining) {
  const Problem p(kCases[0], GetParam());
  const std::vector<float> mean = p.mean.to_vector(), variance = p.variance.to_vector();
  p.run();
  EXPECT_EQ(p.mean.to_vector(), mean);
  EXPECT_EQ(p.variance.to_vector(), variance);
}

TEST_P(BatchNormTest, GradientsMatchFiniteDifferences) {
  // Every element, so that no value may lie within a step of a kink; the seeds give such values.
  for (const bool training : {true, false})
    for (const Activation act : {Activation::none(), Activation::leaky(0.1f), Activation::relu6()}) {
      SCOPED_TRACE(str(training ? "training" : "frozen", " slope ", act.slope));
      const TrainingMode mode(training);
      const Problem p({{2, 3, 4, 2}, act, true}, GetParam());
      EXPECT_TRUE(gradients_match([&] { return p.run(); }, {p.x, p.scale, p.shift, p.residual}));
    }
}

TEST_P(BatchNormTest, VarianceSurvivesALargeMean) {
  // E[x^2] - E[x]^2 in fp32 would be off by 0.1 here.
  const TrainingMode training;
  for (const Case& c :
       {Case{{4, 16, 15, 3}, Activation::none(), false}, Case{{9, 33}, Activation::relu(), false}}) {
    SCOPED_TRACE(describe(c));
    const Problem p(c, GetParam(), 1000);
    const std::vector<Sums> want = reference(p, true);
    const Tensors got = p.results();
    // x itself has a rounding of 6e-5 of its deviation: that is the limit, not the sums.
    for (const int i : {0, 5})
      EXPECT_TRUE(expect_close(got[static_cast<size_t>(i)].to_vector(), want[static_cast<size_t>(i)].value,
                               {5e-4, 1}))
          << kNames[i];
  }
}

TEST_P(BatchNormTest, ChannelsOfOneValueGiveTheShift) {
  const TrainingMode training;
  const Tensor x = Tensor::full({2, 3, 4, 5}, 7, GetParam()), one = random_tensor({1, 1, 1, 5}, GetParam());
  const Tensor scale = random_tensor({5}, GetParam(), 1), shift = random_tensor({5}, GetParam(), 2);
  const Tensor mean = Tensor::zeros({5}, GetParam()), variance = Tensor::full({5}, 1, GetParam());
  const std::vector<float> want = shift.to_vector();
  for (const Tensor& t : {x, one}) {
    const std::vector<float> y = batch_norm(t, scale, shift, mean, variance).to_vector();
    for (size_t i = 0; i < y.size(); ++i) EXPECT_FLOAT_EQ(y[i], want[i % 5]);
  }
}

TEST_P(BatchNormTest, RunningStatisticsConvergeToTheBatchs) {
  const TrainingMode training;
  Problem p(kCases[3], GetParam());
  for (int step = 0; step < 60; ++step) p.run();
  const Tensor mean = p.mean.clone(), variance = p.variance.clone();
  p.momentum = 1;
  p.run();
  EXPECT_TRUE(expect_close(mean, p.mean, {1e-5, 1}));  // 0.7^60 of the distance is left, and 60 roundings
  EXPECT_TRUE(expect_close(variance, p.variance, {1e-5, 1}));
}

TEST_P(BatchNormTest, FusedFormEqualsTheChainOfOps) {
  for (const bool training : {true, false}) {
    const TrainingMode mode(training);
    for (const Case& c : kCases) {
      SCOPED_TRACE(describe(c));
      const Problem fused(c, GetParam());
      Problem plain = fused;
      for (Tensor* t : {&plain.x, &plain.scale, &plain.shift, &plain.mean, &plain.variance, &plain.residual})
        if (t->defined()) *t = t->clone();
      for (const Tensor& t : {plain.x, plain.scale, plain.shift}) t.set_requires_grad();
      Tensor y = batch_norm(plain.x, plain.scale, plain.shift, plain.mean, plain.variance,
                            {.eps = plain.eps, .momentum = plain.momentum});
      if (c.residual) y = add(y, plain.residual.set_requires_grad());
      y = activation(y, c.act);
      backward({y}, {plain.dy});
      const Tensors got = fused.results();
      Tensors want = {y.detached(), plain.x.grad(), plain.scale.grad(), plain.shift.grad(), plain.mean};
      for (size_t i = 0; i < want.size(); ++i)
        EXPECT_TRUE(expect_close(got[i], want[i], {1e-5, 1.0})) << kNames[i];  // sums of up to 5000 terms
      if (!c.residual) continue;
      EXPECT_TRUE(expect_close(got[6], plain.residual.grad(), kElementwise));
    }
  }
}

TEST(BatchNormThreads, AnyNumberGivesTheSameBits) {
  const TrainingMode training;
  for (const Case& c : kCases) {
    SCOPED_TRACE(describe(c));
    std::vector<std::vector<float>> first;
    for (const int count : {1, 2, 3, 7}) {
      const kernels::Threads threads(count);
      const Tensors results = Problem(c, Device::kCpu).results();
      for (size_t i = 0; i < results.size(); ++i) {
        if (count == 1) first.push_back(results[i].to_vector());
        EXPECT_EQ(results[i].to_vector(), first[i]) << kNames[i] << ", " << count << " threads";
      }
    }
  }
}

TEST_P(BatchNormTest, ComputesOnlyTheGradientsThatAreWanted) {
  const TrainingMode training;
  const Problem p(kCases[4], GetParam());
  p.residual.set_requires_grad();
  backward({p.run()}, {p.dy});
  EXPECT_TRUE(p.residual.grad().defined());
  EXPECT_FALSE(p.x.grad().defined());
  p.mean.set_requires_grad();
  EXPECT_THROW(backward({p.run()}, {p.dy}), Error);
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(BatchNormInput, ErrorsSayWhatIsAndWhatWasExpected) {
  const Tensor x({2, 3, 4, 5}), c({5}), other({6});
  const auto run = [&](const Tensor& x, const Tensor& scale, const BatchNormOptions& o = {}) {
    return error_of([&] { batch_norm(x, scale, c, c, c, o); });
  };
  EXPECT_EQ(run(x, other),
            "batch_norm: x has 5 channels but input 1 (of scale, shift, mean, variance) is [6]");
  EXPECT_NE(run(x, c, {.eps = 0}).find("eps is 0"), std::string::npos);
  EXPECT_NE(run(x, c, {.momentum = 1.5f}).find("momentum 1.5"), std::string::npos);
  EXPECT_NE(run(x, c, {.residual = Tensor({2, 3, 4, 6})}).find("residual is [2,3,4,6]"), std::string::npos);
  EXPECT_NE(run(Tensor({0, 3, 4, 5}), c).find("no extent 0"), std::string::npos);
  EXPECT_NE(run(Tensor({2, 5}, Device::kCpu, DType::kS8), c).find("expected f32"), std::string::npos);
}

}  // namespace
}  // namespace espalier::test
