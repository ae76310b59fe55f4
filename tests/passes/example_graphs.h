#pragma once
// Small networks for the tests of passes and sessions.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "base/random.h"
#include "graph/graph.h"
#include "nn/layers.h"
#include "support/expect_close.h"
#include "support/tolerance.h"

namespace espalier::test {

/// Gives every parameter values that a trained one could have, so that a norm left out or folded twice shows.
inline void randomise(Graph& graph, uint64_t seed) {
  for (Graph::Value& v : graph.values) {
    if (!v.param.defined()) continue;
    Random random(seed, Purpose::kTest, fnv1a(v.name.data(), v.name.size()));
    const Shape& shape = v.param.shape();
    const int outputs = shape.axes() == 3 ? shape.back() : shape[0];  // depthwise filters are [R,S,C]
    const double spread =
        shape.axes() == 1 ? 0.3 : std::sqrt(static_cast<double>(outputs) / v.param.elements());
    std::vector<float> values(static_cast<size_t>(v.param.elements()));
    for (float& value : values) {
      if (v.name.ends_with("variance"))
        value = static_cast<float>(random.uniform(0.5, 2));
      else if (v.name.ends_with("scale"))
        value = static_cast<float>(random.uniform(0.6, 1.4));
      else
        value = static_cast<float>(spread * random.normal());
    }
    v.param.set(values);
  }
}

/// Equal within rounding, against the largest value of each output.
inline void expect_same(const Tensors& got, const Tensors& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    const std::vector<float> values = want[i].to_vector();
    double most = 0;
    for (const float v : values) most = std::max(most, std::abs(static_cast<double>(v)));
    EXPECT_TRUE(expect_close(got[i], want[i], {kPassRelativeToMax, most})) << "output " << i;
  }
}

/// Both graphs give the same for x.
inline void expect_same_outputs(const Graph& want, const Graph& got, const Tensor& x) {
  expect_same(got.run({x}), want.run({x}));
}

/// Two branches, joined: everything that the passes treat and some that they must leave alone.
inline Graph branches(int height, int width, uint64_t seed) {
  Graph graph = build_graph(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor a = conv_bn(s / "a", x, 10, {.kernel = 3, .act = Activation::leaky()});
        const Tensor b = depthwise_bn(s / "b", a, {.kernel = 3, .act = Activation::relu6()});
        const Tensor c = conv_bn(s / "c", b, 10, {.kernel = 1});
        const Tensor sum = relu(add(a, c));
        const Tensor small = max_pool(sum);
        const Tensor d = conv_bn(s / "d", small, 7, {.kernel = 3, .stride = 2});
        const Tensor up = resize_bilinear_like(d, sum, false);
        const Tensor nearest = resize_nearest_like(small, sum);
        const Tensor joined = concat({sigmoid(up), nearest, sum});
        const Tensor e =
            conv_bn(s / "e", dropout(joined, 0.3f), 12, {.kernel = 5, .act = Activation::relu()});
        const Tensor mean = global_avg_pool(e);
        return {fully_connected(s / "head", dropout(mean, 0.5f), 5), e};
      },
      height, width, 3, seed);
  randomise(graph, seed);
  return graph;
}

/// What pruning must cope with, in odd widths: a residual, a depthwise filter, two concats that share an
/// operand, pooling, resizing, a filter with a bias, and a linear layer behind the global pool.
inline Graph tied(uint64_t seed) {
  Graph graph = build_graph(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor a = conv_bn(s / "a", x, 9, {.kernel = 3, .act = Activation::relu6()});
        const Tensor b = depthwise_bn(s / "b", a, {.kernel = 3, .act = Activation::relu()});
        const Tensor c = conv_bn(s / "c", b, 9, {.kernel = 1});
        const Tensor sum = leaky_relu(add(a, c), 0.1f);
        const Tensor small = max_pool(sum);
        const Tensor d = conv2d(small, s.param("d/w", {7, 3, 3, 9}, he_normal),
                                {.pad = {1, 1, 1, 1}, .bias = s.param("d/bias", {7}, zeros)});
        const Tensor up = resize_bilinear_like(relu(d), sum, false);
        const Tensor joined = concat({up, sum, b});
        const Tensor e = conv_bn(s / "e", joined, 11, {.kernel = 3, .stride = 2, .act = Activation::relu()});
        const Tensor again = concat({max_pool(sum), e});
        return {fully_connected(s / "head", global_avg_pool(again), 5)};
      },
      8, 6, 3, seed);
  randomise(graph, seed);
  return graph;
}

}  // namespace espalier::test
