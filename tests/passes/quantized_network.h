#pragma once
// Networks to quantise, and ranges without a data set.

#include <cmath>
#include <map>
#include <string>

#include "nn/layers.h"
#include "passes/example_graphs.h"
#include "support/random_tensor.h"

namespace espalier::test {

/// Ranges of every activation of a prepared graph on one batch, by its largest magnitude.
inline std::map<std::string, float> ranges_of(const Graph& g, const Tensor& x) {
  std::map<std::string, float> ranges;
  const NoGrad no_grad;
  Tensors at(g.values.size());
  for (size_t v = 0; v < at.size(); ++v) at[v] = g.values[v].param;
  at[g.inputs[0]] = x;
  for (const Graph::Item& item : g.items) {
    Tensors in;
    for (int v : item.in) in.push_back(at[v]);
    const Tensors out = espalier::apply(item.op, in);
    for (size_t i = 0; i < out.size(); ++i) at[item.out[i]] = out[i];
  }
  for (size_t v = 0; v < at.size(); ++v) {
    if (g.values[v].param.defined()) continue;
    float largest = 1e-6f;
    for (float a : at[v].to_vector()) largest = std::max(largest, std::abs(a));
    ranges[g.values[v].name] = largest;
  }
  return ranges;
}

inline double relative_error(const std::vector<float>& got, const std::vector<float>& want) {
  double error = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i)
    error += std::pow(got[i] - want[i], 2), size += std::pow(want[i], 2);
  return std::sqrt(error / size);
}

/// A small network with every kind of layer that has an INT8 form, a residual, a leaky ReLU and a pool.
inline Graph small_network() {
  return build_graph(
      [](Scope s, const Tensor& image) {
        Tensor x = conv_bn(s / "stem", image, 16, {.kernel = 3, .stride = 2, .act = Activation::relu6()});
        Tensor y = conv_bn(s / "expand", x, 40, {.kernel = 1, .act = Activation::leaky()});
        y = depthwise_bn(s / "depthwise", y, {.kernel = 3, .act = Activation::relu6()});
        y = conv_bn(s / "project", y, 16, {.kernel = 1});
        x = add(x, y);
        return Tensors{fully_connected(s / "classifier", global_avg_pool(x), 7)};
      },
      20, 20, 3, 5);
}

}  // namespace espalier::test
