#include "passes/equalize.h"

#include <gtest/gtest.h>

#include <cmath>

#include "models/model_table.h"
#include "nn/layers.h"
#include "passes/example_graphs.h"
#include "passes/quantize.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

/// expand -> depthwise -> project with activation `act`, channels of very different size; then a pooled head.
Graph inverted(Activation act) {
  Graph g = build_graph(
      [act](Scope s, const Tensor& image) -> Tensors {
        const Tensor x = conv_bn(s / "expand", image, 37, {.kernel = 1, .act = act});
        const Tensor y = depthwise_bn(s / "depthwise", x, {.kernel = 3, .act = act});
        const Tensor z = conv_bn(s / "project", y, 9, {.kernel = 1});
        return {fully_connected(s / "head", global_avg_pool(z), 4)};
      },
      9, 7, 3, 3);
  randomise(g, 2);
  Graph prepared = prepare_for_quantization(g);
  // Every channel matters to the outputs, but the first layer makes some small and the second makes up for
  // it.
  const Tensor w = prepared.values[prepared.find("expand/w")].param,
               bias = prepared.values[prepared.find("expand/bias")].param,
               next = prepared.values[prepared.find("depthwise/w")].param;
  for (int64_t i = 0; i < w.elements(); ++i)
    w.f32()[i] = std::ldexp(w.f32()[i], -static_cast<int>(i / 3 % 7));
  for (int64_t c = 0; c < 37; ++c) bias.f32()[c] = std::ldexp(bias.f32()[c], -static_cast<int>(c % 7));
  for (int64_t i = 0; i < next.elements(); ++i)
    next.f32()[i] = std::ldexp(next.f32()[i], static_cast<int>(i % 37 % 7));
  return prepared;
}

double spread_of(const Graph& g) {
  const std::vector<double> scales = filter_scales(g.values[g.find("expand/w")].param, false, true);
  return *std::max_element(scales.begin(), scales.end()) / *std::min_element(scales.begin(), scales.end());
}

std::vector<float> run(const Graph& g) {
  const NoGrad no_grad;
  return g.run({random_tensor({2, 9, 7, 3}, Device::kCpu, 5)})[0].to_vector();
}

TEST(Equalize, KeepsEveryBitOfTheOutputs) {
  for (const Activation act : {Activation::none(), Activation::relu(), Activation::leaky(0.125f)}) {
    const Graph before = inverted(act);
    Graph after = before;
    EXPECT_EQ(equalize(after), 3);
    EXPECT_EQ(run(after), run(before));
    EXPECT_LT(spread_of(after), 0.25 * spread_of(before));
  }
}

TEST(Equalize, LeavesTheCallersParametersAlone) {
  const Graph before = inverted(Activation::relu());
  const uint64_t hash = before.hash();
  Graph after = before;
  equalize(after);
  EXPECT_EQ(before.hash(), hash);
  EXPECT_NE(after.hash(), hash);
}

TEST(Equalize, LeavesCapsAlone) {
  const Graph before = inverted(Activation::relu6());
  Graph after = before;
  EXPECT_LE(equalize(after), 1) << "only project, which has no activation, and the head";
  EXPECT_EQ(run(after), run(before));
  EXPECT_EQ(spread_of(after), spread_of(before));
}

TEST(Equalize, WithoutCapsIsTheNetworkWithReLU) {
  Graph dropped = inverted(Activation::relu6());
  EXPECT_EQ(equalize(dropped, {.drop_caps = true}), 3);
  EXPECT_EQ(run(dropped), run(inverted(Activation::relu())));
}

TEST(Equalize, LeavesWhatOthersReadAlone) {
  // Both operands of an addition and what a concat joins keep their size, outputs too.
  const Graph g = build_graph(
      [](Scope s, const Tensor& image) -> Tensors {
        const Tensor a = conv_bn(s / "a", image, 6, {.kernel = 3, .act = Activation::relu()});
        const Tensor b = conv_bn(s / "b", a, 6, {.kernel = 1});
        const Tensor sum = add(a, b);
        return {conv_bn(s / "c", concat({sum, a}), 5, {.kernel = 1}), sum};
      },
      8, 8, 3, 3);
  Graph prepared = prepare_for_quantization(g);
  EXPECT_EQ(equalize(prepared), 0);
}

TEST(Equalize, HelpsOneScaleATensor) {
  const Graph before = inverted(Activation::relu());
  Graph after = before;
  equalize(after);
  const auto error = [](const Graph& g) {
    // Weights as their codes would show them.
    Graph coded = g.clone();
    for (const Graph::Value& v : coded.values) {
      if (!v.param.defined() || !v.name.ends_with("/w")) continue;
      const double scale = filter_scales(v.param, false, false)[0];
      for (int64_t i = 0; i < v.param.elements(); ++i)
        v.param.f32()[i] = static_cast<float>(scale * std::nearbyint(v.param.f32()[i] / scale));
    }
    const std::vector<float> want = run(g), got = run(coded);
    double sum = 0;
    for (size_t i = 0; i < want.size(); ++i) sum += std::pow(want[i] - got[i], 2);
    return sum;
  };
  EXPECT_LT(error(after), 0.7 * error(before));
}

TEST(Equalize, MobileNetV2KeepsItsOutputs) {
  Graph g = build_model({.name = "mobilenet_v2", .classes = 7, .options = {{"width", 0.25}}}, 32, 1);
  randomise(g, 4);
  const Graph before = prepare_for_quantization(g);
  Graph after = before;
  EXPECT_GT(equalize(after), 0);
  const NoGrad no_grad;
  const Tensor x = random_tensor({2, 32, 32, 3}, Device::kCpu, 6);
  EXPECT_EQ(after.run({x})[0].to_vector(), before.run({x})[0].to_vector());
}

}  // namespace
}  // namespace espalier::test
