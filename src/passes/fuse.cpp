#include "passes/fuse.h"

#include <algorithm>

#include "ops/activation.h"
#include "ops/add.h"
#include "ops/conv2d.h"
#include "ops/linear.h"

namespace espalier {

namespace {

/// The op with the activation as its own, or null if it cannot take one.
OpPtr with_activation(const Graph::Item& item, Activation act) {
  const auto taken = [act](auto copy) -> OpPtr {
    if (!copy.act.is_none()) return nullptr;
    copy.act = act;
    return std::make_shared<decltype(copy)>(copy);
  };
  if (const auto* conv = item.as<Conv2d>()) return taken(*conv);
  if (const auto* conv = item.as<DepthwiseConv2d>()) return taken(*conv);
  if (const auto* linear = item.as<Linear>()) return taken(*linear);
  return nullptr;
}

OpPtr with_residual(const Graph::Item& item) {
  const auto taken = [](auto copy) -> OpPtr {
    if (!copy.act.is_none() || copy.has_residual) return nullptr;
    copy.has_residual = true;
    return std::make_shared<decltype(copy)>(copy);
  };
  if (const auto* conv = item.as<Conv2d>()) return taken(*conv);
  if (const auto* conv = item.as<DepthwiseConv2d>()) return taken(*conv);
  return nullptr;
}

/// Puts `fused` in the place of item `last`, which read the output of item `first` as its only user. Moving
/// the earlier item down is safe: nothing between the two reads what it makes.
void replace(Graph& graph, int first, int last, Graph::Item fused) {
  fused.out = graph.items[last].out;
  graph.items[last] = std::move(fused);
  graph.items.erase(graph.items.begin() + first);
}

bool fuse_activation(Graph& graph, int at) {
  const auto* act = graph.items[at].as<ActivationOp>();
  if (!act) return false;
  const int x = graph.items[at].in[0], producer = graph.producer(x);
  if (producer < 0 || graph.uses(x) != 1) return false;
  Graph::Item fused = graph.items[producer];
  fused.op = with_activation(fused, act->act);
  if (!fused.op) return false;
  replace(graph, producer, at, std::move(fused));
  return true;
}

bool fuse_residual(Graph& graph, int at) {
  if (!graph.items[at].as<Add>()) return false;
  const std::vector<int> in = graph.items[at].in;
  const auto candidate = [&](int value) {
    const int producer = graph.producer(value);
    return producer >= 0 && graph.uses(value) == 1 && with_residual(graph.items[producer]) ? producer : -1;
  };
  const int a = candidate(in[0]), b = candidate(in[1]), producer = std::max(a, b);
  if (producer < 0) return false;
  Graph::Item fused = graph.items[producer];
  fused.op = with_residual(fused);
  fused.in.push_back(producer == b ? in[0] : in[1]);
  replace(graph, producer, at, std::move(fused));
  return true;
}

bool drop_identity(Graph& graph, int at) {
  if (!graph.items[at].op->identity_in_inference()) return false;
  const int x = graph.items[at].in[0], y = graph.items[at].out[0];
  graph.items.erase(graph.items.begin() + at);
  for (Graph::Item& item : graph.items) std::replace(item.in.begin(), item.in.end(), y, x);
  std::replace(graph.outputs.begin(), graph.outputs.end(), y, x);
  return true;
}

}  // namespace

int fuse(Graph& graph) {
  const size_t before = graph.items.size();
  for (int at = 0; at < static_cast<int>(graph.items.size());)
    if (drop_identity(graph, at) || fuse_residual(graph, at) || fuse_activation(graph, at))
      at = std::max(0, at - 1);  // one item less before or at this place: look at it again
    else
      ++at;
  graph.compact();
  graph.verify();
  return static_cast<int>(before - graph.items.size());
}

}  // namespace espalier
