// Optimizers against their formulas in double, element by element.

#include "optim/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "kernels/optimizer.h"
#include "optim/adamw.h"
#include "optim/ema.h"
#include "optim/sgd.h"
#include "support/device_test.h"
#include "support/expect_close.h"
#include "support/messages.h"
#include "support/random_tensor.h"
#include "train/tiny_training.h"

namespace espalier {
namespace {

using test::message_of;

using test::expect_close;
using test::random_tensor;

/// Both sides of a block's end, on either device.
const std::vector<Shape> kShapes = {{1},    {31},      {3, 5},     {4095}, {4096},
                                    {4097}, {2, 4096}, {3, 3, 37}, {10001}};

std::vector<OptimizedParameter> parameters_on(Device device) {
  std::vector<OptimizedParameter> parameters;
  for (size_t i = 0; i < kShapes.size(); ++i) {
    parameters.push_back({str("p", i), random_tensor(kShapes[i], device, i + 1)});
    parameters.back().tensor.set_requires_grad();
  }
  parameters[2].decay_factor = 0;
  parameters[3].rate_factor = 0.5f;
  return parameters;
}

/// One step's gradient of a parameter, the same every time it is asked for.
Tensor gradient(const Shape& shape, Device device, size_t parameter, int step) {
  return random_tensor(shape, device, 1000 + parameter * 10 + static_cast<size_t>(step));
}

struct OptimizerTest : test::DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(OptimizerTest);

struct State {
  std::vector<double> w, m, v;
};

/// Runs three steps of `optimizer` beside `formula(state, i, g, rate, decay, t)` in double.
template <class Formula>
void compare(Optimizer& optimizer, double decay, double scale, const Formula& formula) {
  const auto& parameters = optimizer.parameters();
  std::vector<State> states;
  for (const auto& p : parameters) {
    const std::vector<float> w = p.tensor.to_vector();
    states.push_back({{w.begin(), w.end()}, std::vector<double>(w.size()), std::vector<double>(w.size())});
  }
  for (int t = 1; t <= 3; ++t) {
    const double rate = 0.1 / t;
    for (size_t i = 0; i < parameters.size(); ++i) {
      const Tensor g = gradient(kShapes[i], parameters[i].tensor.device(), i, t);
      parameters[i].tensor.set_grad(g);
      const std::vector<float> host = g.to_vector();
      for (size_t k = 0; k < host.size(); ++k)
        formula(states[i], k, scale * host[k], rate * parameters[i].rate_factor,
                decay * parameters[i].decay_factor, t);
    }
    optimizer.step(rate, scale);
    for (const auto& p : parameters) EXPECT_FALSE(p.tensor.grad().defined());
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (kShapes[i].elements() < 3) {  // too few for a comparison that can be trusted
      EXPECT_NEAR(parameters[i].tensor.to_vector()[0], states[i].w[0], 1e-6);
      continue;
    }
    // Nine roundings of numbers up to 3.
    EXPECT_TRUE(expect_close(parameters[i].tensor.to_vector(), states[i].w, {4e-6, 1})) << parameters[i].name;
  }
  EXPECT_EQ(optimizer.steps(), 3);
}

TEST_P(OptimizerTest, SgdIsHeavyBallWithCoupledDecay) {
  Sgd sgd(parameters_on(GetParam()), {.momentum = 0.9, .weight_decay = 0.05});
  compare(sgd, 0.05, 1, [](State& s, size_t k, double g, double rate, double decay, int) {
    s.m[k] = 0.9 * s.m[k] + (g + decay * s.w[k]);
    s.w[k] -= rate * s.m[k];
  });
}

TEST_P(OptimizerTest, SgdDecaysTheWeightsThemselvesWhenDecoupled) {
  Sgd sgd(parameters_on(GetParam()), {.momentum = 0.5, .weight_decay = 0.05, .decoupled = true});
  compare(sgd, 0.05, 0.25, [](State& s, size_t k, double g, double rate, double decay, int) {
    s.m[k] = 0.5 * s.m[k] + g;
    s.w[k] = s.w[k] * (1 - rate * decay) - rate * s.m[k];
  });
}

TEST_P(OptimizerTest, AdamWFollowsItsPaper) {
  AdamW adam(parameters_on(GetParam()), {.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.1});
  compare(adam, 0.1, 2, [](State& s, size_t k, double g, double rate, double decay, int t) {
    s.m[k] = 0.8 * s.m[k] + 0.2 * g;
    s.v[k] = 0.95 * s.v[k] + 0.05 * g * g;
    s.w[k] -= rate * decay * s.w[k];
    s.w[k] -= rate * (s.m[k] / (1 - std::pow(0.8, t))) / (std::sqrt(s.v[k] / (1 - std::pow(0.95, t))) + 1e-6);
  });
}

TEST_P(OptimizerTest, TheGradientNormIsOverAllParameters) {
  Sgd sgd(parameters_on(GetParam()), {});
  EXPECT_EQ(sgd.gradient_norm(), 0);
  double sum = 0;
  for (size_t i = 0; i < kShapes.size(); ++i) {
    const Tensor g = gradient(kShapes[i], GetParam(), i, 1);
    sgd.parameters()[i].tensor.set_grad(g);
    for (float x : g.to_vector()) sum += double{x} * x;
  }
  EXPECT_NEAR(sgd.gradient_norm(), std::sqrt(sum), 1e-12 * std::sqrt(sum));
  std::vector<float> values = sgd.parameters()[8].tensor.grad().to_vector();
  values[10000] = NAN;
  sgd.parameters()[8].tensor.grad().set(values);
  EXPECT_TRUE(std::isnan(sgd.gradient_norm()));
}

TEST_P(OptimizerTest, ParametersWithoutGradientStay) {
  Sgd sgd(parameters_on(GetParam()), {.weight_decay = 0.1});
  const std::vector<float> before = sgd.parameters()[4].tensor.to_vector();
  sgd.parameters()[0].tensor.set_grad(gradient(kShapes[0], GetParam(), 0, 1));
  sgd.step(0.1);
  EXPECT_EQ(sgd.parameters()[4].tensor.to_vector(), before);
}

TEST_P(OptimizerTest, AResumedOptimizerStepsAsTheFirstWouldHave) {
  for (const char* name : {"sgd", "adamw"}) {
    const Graph graph = test::tiny_model().graph.to(GetParam());
    const Graph other = graph.clone().to(GetParam());
    const auto steps = [](Optimizer& optimizer, int from, int to) {
      for (int t = from; t < to; ++t) {
        for (size_t i = 0; i < optimizer.parameters().size(); ++i) {
          const Tensor& p = optimizer.parameters()[i].tensor;
          p.set_requires_grad();
          p.set_grad(gradient(p.shape(), p.device(), i, t));
        }
        optimizer.step(0.1);
      }
    };
    const auto first = make_optimizer({.name = name}, graph);
    steps(*first, 0, 4);
    const auto begun = make_optimizer({.name = name}, other);
    steps(*begun, 0, 2);
    const auto state = begun->state();
    const auto resumed = make_optimizer({.name = name}, other);
    resumed->load_state({state.begin(), state.end()}, begun->steps());
    steps(*resumed, 2, 4);
    EXPECT_EQ(test::bytes_of(graph.to(Device::kCpu)), test::bytes_of(other.to(Device::kCpu))) << name;
  }
}

TEST(OptimizerOptionsTest, ExemptionsAreByKind) {
  const Graph graph = test::tiny_model().graph;
  const auto factor = [](const std::vector<OptimizedParameter>& parameters, const std::string& name) {
    for (const auto& p : parameters)
      if (p.name == name) return p.decay_factor;
    ADD_FAILURE() << "no parameter " << name;
    return -1.0f;
  };
  for (const auto& p : parameters_of(graph)) EXPECT_EQ(p.decay_factor, 1) << p.name;
  const auto norms = parameters_of(graph, {.norms = false, .biases = true});
  EXPECT_EQ(factor(norms, "stem/norm/scale"), 0);
  EXPECT_EQ(factor(norms, "depthwise/norm/shift"), 0);
  EXPECT_EQ(factor(norms, "classifier/bias"), 1);
  EXPECT_EQ(factor(norms, "stem/w"), 1);
  const auto biases = parameters_of(graph, {.norms = true, .biases = false});
  EXPECT_EQ(factor(biases, "stem/norm/scale"), 1);
  EXPECT_EQ(factor(biases, "classifier/bias"), 0);
  EXPECT_EQ(factor(biases, "classifier/w"), 1);
}

TEST(OptimizerOptionsTest, ImpossibleValuesAreErrors) {
  const Graph graph = test::tiny_model().graph;
  const auto complaint = [&](const OptimizerOptions& o) {
    return message_of([&] { make_optimizer(o, graph); });
  };
  EXPECT_EQ(complaint({}), "");
  EXPECT_NE(complaint({.name = "adam"}).find("known are sgd, adamw"), std::string::npos);
  EXPECT_NE(complaint({.momentum = 1}).find("momentum is 1"), std::string::npos);
  EXPECT_NE(complaint({.weight_decay = -1}).find("weight decay is -1"), std::string::npos);
  EXPECT_NE(complaint({.weight_decay = NAN}).find("weight decay is nan"), std::string::npos);
  EXPECT_NE(complaint({.name = "adamw", .beta2 = 1}).find("beta is 1"), std::string::npos);
  EXPECT_NE(complaint({.name = "adamw", .eps = 0}).find("eps is 0"), std::string::npos);
}

TEST(OptimizerOptionsTest, StateOfAnotherModelIsRefused) {
  const auto optimizer = make_optimizer({}, test::tiny_model().graph);
  auto state = optimizer->state();
  std::map<std::string, Tensor> named(state.begin(), state.end());
  named.erase("velocity/stem/w");
  EXPECT_NE(message_of([&] { optimizer->load_state(named, 1); }).find("tensors"), std::string::npos);
  named["velocity/leaf/w"] = Tensor({1});
  EXPECT_NE(message_of([&] { optimizer->load_state(named, 1); }).find("no 'velocity/stem/w'"),
            std::string::npos);
  named.erase("velocity/leaf/w");
  named["velocity/stem/w"] = Tensor({1});
  EXPECT_NE(message_of([&] { optimizer->load_state(named, 1); }).find("expected"), std::string::npos);
}

TEST_P(OptimizerTest, AveragesFollowTheParametersAndTheirStatistics) {
  const Graph graph = test::tiny_model().graph.clone().to(GetParam());
  Ema ema(graph, 0.9);
  const int w = graph.find("stem/w"), variance = graph.find("stem/norm/variance");
  std::vector<double> want, want_variance;
  for (float x : graph.values[w].param.to_vector()) want.push_back(x);
  for (float x : graph.values[variance].param.to_vector()) want_variance.push_back(x);
  for (int t = 0; t < 12; ++t) {
    const double d = std::min(0.9, (1.0 + t) / (10.0 + t));
    for (const auto& [value, average] : {std::pair{w, &want}, std::pair{variance, &want_variance}}) {
      const Tensor next = random_tensor(graph.values[value].param.shape(), GetParam(),
                                        static_cast<uint64_t>(100 * value + t));
      graph.values[value].param.copy_from(next);
      const std::vector<float> host = next.to_vector();
      for (size_t k = 0; k < host.size(); ++k) (*average)[k] += (1 - d) * (host[k] - (*average)[k]);
    }
    ema.update();
  }
  const Graph averaged = ema.averaged();
  // A dozen roundings.
  EXPECT_TRUE(expect_close(averaged.values[w].param.to_vector(), want, {5e-6, 1}));
  EXPECT_TRUE(expect_close(averaged.values[variance].param.to_vector(), want_variance, {5e-6, 1}));
  EXPECT_NE(message_of([&] { Ema(graph, 1); }).find("decay is 1"), std::string::npos);
}

}  // namespace
}  // namespace espalier
