#include "passes/equalize.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "ops/conv2d.h"
#include "ops/linear.h"

namespace espalier {

namespace {

/// A layer's filters seen as channels in and out.
struct Filters {
  int item = -1;
  bool depthwise = false;

  int channel(const Shape& w, int64_t element, bool output) const {
    if (depthwise || !output) return static_cast<int>(element % w.back());
    return static_cast<int>(element / (w.elements() / w[0]));
  }
};

struct Pair {
  Filters first, second;
  std::vector<int> exponents;  // of the powers of two, per channel, in total
};

bool is_depthwise(const Graph::Item& item) { return item.as<DepthwiseConv2d>() != nullptr; }

/// Filters that no other layer has.
bool is_layer(const Graph& g, const Graph::Item& item) {
  return (dynamic_cast<const Convolution*>(item.op.get()) || item.as<Linear>()) &&
         g.is_parameter(item.in[1]) && g.uses(item.in[1]) == 1;
}

Activation act_of(const Graph::Item& item) {
  const auto* linear = item.as<Linear>();
  return linear ? linear->act : dynamic_cast<const Convolution&>(*item.op).act;
}

bool has_residual(const Graph::Item& item) {
  const auto* convolution = dynamic_cast<const Convolution*>(item.op.get());
  return convolution && convolution->has_residual;
}

int bias_of(const Graph::Item& item) {
  const auto* linear = item.as<Linear>();
  const bool has = linear ? linear->has_bias : dynamic_cast<const Convolution&>(*item.op).has_bias;
  return has ? item.in[2] : -1;
}

/// The layer that alone reads a layer's output, pooled or resized perhaps; -1 if there is none.
int only_reader(const Graph& g, int v) {
  while (g.uses(v) == 1) {
    const std::vector<int> readers = g.consumers(v);
    if (readers.size() != 1) return -1;
    const Graph::Item& reader = g.items[readers[0]];
    if (reader.in[0] != v) return -1;
    if (is_layer(g, reader)) return readers[0];
    if (reader.in.size() != 1 || !reader.op->on_codes()) return -1;  // it would not keep what is scaled
    v = reader.out[0];
  }
  return -1;
}

void drop_cap(Graph::Item& item) {
  const auto uncapped = [&](const auto& op) {
    auto copy = std::make_shared<std::decay_t<decltype(op)>>(op);
    copy->act.cap = Activation::kNoCap;
    item.op = copy;
  };
  if (const auto* conv = item.as<Conv2d>()) uncapped(*conv);
  if (const auto* depthwise = item.as<DepthwiseConv2d>()) uncapped(*depthwise);
  if (const auto* linear = item.as<Linear>()) uncapped(*linear);
}

/// Per channel: the largest magnitude of its filters, as outputs or as inputs.
std::vector<float> largest(const Filters& filters, const Tensor& w, int channels, bool output) {
  std::vector<float> found(static_cast<size_t>(channels), 0.0f);
  for (int64_t i = 0; i < w.elements(); ++i) {
    float& at = found[filters.channel(w.shape(), i, output)];
    at = std::max(at, std::abs(w.f32()[i]));
  }
  return found;
}

void scale(const Filters& filters, const Tensor& w, const std::vector<int>& exponents, bool output) {
  for (int64_t i = 0; i < w.elements(); ++i)
    w.f32()[i] = std::ldexp(w.f32()[i], exponents[filters.channel(w.shape(), i, output)]);
}

class Equalizer {
 public:
  Equalizer(Graph& graph, const EqualizeOptions& options) : g_(graph), options_(options) {
    for (size_t i = 0; i < g_.items.size(); ++i) {
      Graph::Item& item = g_.items[i];
      if (!is_layer(g_, item) || has_residual(item)) continue;
      const bool capped = act_of(item).cap != Activation::kNoCap;
      const int reader = only_reader(g_, item.out[0]);
      if (reader < 0 || (capped && !options.drop_caps)) continue;
      if (const int bias = bias_of(item); bias >= 0 && (!g_.is_parameter(bias) || g_.uses(bias) != 1))
        continue;
      if (capped) drop_cap(item);
      const int channels = g_.values[item.out[0]].meta.shape.back();
      pairs_.push_back({{static_cast<int>(i), is_depthwise(item)},
                        {reader, is_depthwise(g_.items[reader])},
                        std::vector<int>(static_cast<size_t>(channels))});
    }
  }

  int run() {
    bool moves = true;
    for (int sweep = 0; sweep < options_.sweeps && moves; ++sweep) {
      moves = false;
      for (Pair& pair : pairs_) moves = step(pair) || moves;
    }
    return static_cast<int>(std::count_if(pairs_.begin(), pairs_.end(), [](const Pair& pair) {
      return std::any_of(pair.exponents.begin(), pair.exponents.end(), [](int e) { return e != 0; });
    }));
  }

 private:
  bool step(Pair& pair) {
    constexpr int kMost = 24;  // further away from 1 a channel is as good as dead
    const Tensor first = g_.values[g_.items[pair.first.item].in[1]].param,
                 second = g_.values[g_.items[pair.second.item].in[1]].param;
    const auto channels = static_cast<int>(pair.exponents.size());
    const std::vector<float> r1 = largest(pair.first, first, channels, true),
                             r2 = largest(pair.second, second, channels, false);
    std::vector<int> down(pair.exponents.size()), up(pair.exponents.size());
    bool moves = false;
    for (int c = 0; c < channels; ++c) {
      if (!(r1[c] > 0) || !(r2[c] > 0)) continue;
      const int wanted = static_cast<int>(std::nearbyint(0.5 * std::log2(double{r1[c]} / r2[c])));
      up[c] = std::clamp(pair.exponents[c] + wanted, -kMost, kMost) - pair.exponents[c];
      down[c] = -up[c];
      pair.exponents[c] += up[c];
      moves = moves || up[c] != 0;
    }
    if (!moves) return false;
    scale(pair.first, first, down, true);
    if (const int bias = bias_of(g_.items[pair.first.item]); bias >= 0)
      scale({.depthwise = true}, g_.values[bias].param, down, true);
    scale(pair.second, second, up, false);
    return true;
  }

  Graph& g_;
  const EqualizeOptions& options_;
  std::vector<Pair> pairs_;
};

}  // namespace

int equalize(Graph& prepared, const EqualizeOptions& options) {
  // Own copies on the CPU: the caller's graph may share parameters.
  const Device device = prepared.values.at(prepared.items.at(0).in.at(1)).param.device();
  Graph graph = prepared.to(Device::kCpu).clone();
  const int moved = Equalizer(graph, options).run();
  prepared = graph.to(device);
  prepared.verify();
  return moved;
}

}  // namespace espalier
