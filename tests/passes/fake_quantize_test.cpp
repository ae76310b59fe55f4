// The graph that is trained with INT8's rounding against the INT8 graph that comes of it.

#include "passes/fake_quantize.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "models/model_table.h"
#include "ops/autograd.h"
#include "passes/quantized_network.h"
#include "runtime/session.h"

namespace espalier::test {
namespace {

struct Network {
  const char* name;
  Graph prepared;
  Tensor x;
  std::map<std::string, float> ranges;
};

Network network(const char* name) {
  if (name == std::string("small")) {
    Network n{
        name, prepare_for_quantization(small_network()), random_tensor({4, 20, 20, 3}, Device::kCpu, 3), {}};
    n.ranges = ranges_of(n.prepared, n.x);
    return n;
  }
  Graph g = build_model({.name = name, .classes = 2, .options = {{"width", 0.25}}}, 64, 1);
  randomise(g, 3);
  Network n{name, prepare_for_quantization(g), random_tensor({2, 64, 64, 3}, Device::kCpu, 4), {}};
  n.ranges = ranges_of(n.prepared, n.x);
  return n;
}

class FakeQuantization : public ::testing::TestWithParam<const char*> {
 protected:
  Network n = network(GetParam());

  /// How far INT8 is from the rounded graph, and that from FP32, at the worst output.
  std::pair<double, double> distances(const Graph& fake, const Graph& int8, const Graph& fp32) const {
    const NoGrad no_grad;
    const Tensors rounded = fake.run({n.x}), codes = int8.run({n.x}), whole = fp32.run({n.x});
    std::pair<double, double> worst;
    for (size_t i = 0; i < codes.size(); ++i) {
      worst.first = std::max(worst.first, relative_error(codes[i].to_vector(), rounded[i].to_vector()));
      worst.second = std::max(worst.second, relative_error(rounded[i].to_vector(), whole[i].to_vector()));
    }
    return worst;
  }
};

TEST_P(FakeQuantization, RoundsWhereInt8Does) {
  for (const bool per_channel : {true, false})
    for (const bool outputs : {false, true}) {
      SCOPED_TRACE(str(per_channel ? "per channel" : "per tensor", outputs ? ", outputs in FP32" : ""));
      QuantizeOptions options{.per_channel = per_channel};
      if (outputs) options.keep_fp32 = {"outputs"};
      const Graph fake = add_fake_quantization(n.prepared, n.ranges, options);
      const auto [apart, rounding] = distances(fake, quantize(n.prepared, n.ranges, options), n.prepared);
      // What is left is the rounding of biases: it turns few codes of a layer, and in a deep network each of
      // them turns more of the next, until they are about as many as if both had rounded by themselves.
      EXPECT_LT(apart, (n.name == std::string("small") ? 0.25 : 1) * rounding);
      EXPECT_GT(rounding, 1e-3);
    }
}

TEST_P(FakeQuantization, WhatWasLearnedIsWhatRuns) {
  for (const bool per_channel : {true, false}) {
    QuantizeOptions options{.per_channel = per_channel};
    options.means["x"] = {1};
    options.rounding["x"] = Tensor();
    const Graph fake = add_fake_quantization(n.prepared, n.ranges, options);
    // As a training would have moved everything.
    Random random(7, Purpose::kTest);
    for (const Graph::Value& value : fake.values)
      if (value.trainable)
        for (int64_t i = 0; i < value.param.elements(); ++i)
          value.param.f32()[i] *= static_cast<float>(random.uniform(0.8, 1.1));
    Graph prepared = n.prepared.clone();
    std::map<std::string, float> ranges = n.ranges;
    take_fake_quantization(fake, prepared, ranges, options);
    EXPECT_TRUE(options.means.empty() && options.rounding.empty());
    const Graph int8 = quantize(prepared, ranges, options);
    const auto [apart, moved] = distances(fake, int8, n.prepared);
    EXPECT_LT(apart, 0.25 * moved);
    // A session gives the same bits, so what was measured in training is what runs.
    Session session(int8);
    const NoGrad no_grad;
    EXPECT_EQ(session.run({n.x})[0].to_vector(), int8.run({n.x})[0].to_vector());
  }
}

TEST_P(FakeQuantization, EverythingHasAGradient) {
  const Graph fake = add_fake_quantization(n.prepared, n.ranges, {});
  fake.require_gradients();
  const Tensors out = fake.run({n.x});
  Tensors ones;
  for (const Tensor& y : out) ones.push_back(random_tensor(y.shape(), Device::kCpu, 9));
  backward(out, ones);
  int scales = 0;
  for (const Graph::Value& value : fake.values) {
    if (!value.trainable) continue;
    ASSERT_TRUE(value.param.grad().defined()) << value.name;
    double size = 0;
    for (const float g : value.param.grad().to_vector()) size += std::abs(g);
    EXPECT_GT(size, 0) << value.name;
    scales += value.name.ends_with("/scale");
  }
  EXPECT_GT(scales, 8);
  // The graph it was made of keeps its own parameters.
  for (const Tensor& p : n.prepared.trainable()) EXPECT_FALSE(p.requires_grad());
}

INSTANTIATE_TEST_SUITE_P(Networks, FakeQuantization,
                         ::testing::Values("small", "yolov3_mobilenet_v1", "unet"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace espalier::test
