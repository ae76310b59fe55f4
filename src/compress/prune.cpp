#include "compress/prune.h"

#include <algorithm>

#include "base/error.h"
#include "base/interrupt.h"
#include "compress/criterion.h"
#include "ops/batch_norm.h"
#include "passes/remove_channels.h"

namespace espalier {

Graph prune(const Graph& graph, const PruningPlan& plan) {
  std::vector<Removal> removals;
  for (const ChannelGroup& group : channel_groups(graph)) {
    const auto entry = std::find_if(plan.groups.begin(), plan.groups.end(),
                                    [&](const GroupPlan& g) { return g.name == group.name; });
    ESPALIER_CHECK(entry != plan.groups.end() && entry->before == group.channels,
                   "prune: the plan is of another model: it ",
                   entry == plan.groups.end() ? std::string("lacks group ")
                                              : str("has ", entry->before, " channels for group "),
                   group.name);
    if (entry->kept == group.channels) continue;
    std::vector<int> order =
        entry->order.empty() ? removal_order(graph, group, plan.criterion) : entry->order;
    order.resize(static_cast<size_t>(group.channels - entry->kept));
    removals.push_back({group, std::move(order)});
  }
  Graph pruned = graph.clone();
  remove_channels(pruned, removals);
  return pruned;
}

namespace {

/// The graph with these norms' momentum, and without what is random in training mode.
Graph with_momentum(const Graph& graph, float momentum) {
  Graph g = graph;
  std::vector<int> instead(g.values.size());
  for (size_t v = 0; v < instead.size(); ++v) instead[v] = static_cast<int>(v);
  for (Graph::Item& item : g.items) {
    for (int& v : item.in) v = instead[v];
    if (item.op->identity_in_inference()) instead[item.out[0]] = item.in[0];
    if (const BatchNorm* norm = item.as<BatchNorm>()) {
      auto op = std::make_shared<BatchNorm>(*norm);
      op->momentum = momentum;
      item.op = std::move(op);
    }
  }
  for (int& v : g.outputs) v = instead[v];
  g.compact();
  return g;
}

}  // namespace

int64_t recalibrate_batch_norms(Graph& graph, BatchSource& source, int64_t batches) {
  ESPALIER_CHECK(batches > 0, "batch norms: ", batches, " batches were asked for; at least 1 is needed");
  Graph result = graph;
  for (const Graph::Item& item : graph.items)
    if (item.as<BatchNorm>())
      for (const int v : {item.in[3], item.in[4]}) result.values[v].param = graph.values[v].param.clone();
  const NoGrad no_grad;
  const TrainingMode training;
  Batch batch;
  int64_t used = 0;
  source.start();
  while (used < batches && source.next(batch)) {
    if (interrupt_requested()) throw Interrupted("batch norms: interrupted; the old statistics stay");
    ++used;
    // The mean over batches so far: the first replaces the old statistics.
    with_momentum(result, 1.0f / static_cast<float>(used)).run({network_images(batch, result.device())});
  }
  ESPALIER_CHECK(used > 0, "batch norms: the data set gives no batch to take statistics of");
  graph = std::move(result);
  return used;
}

}  // namespace espalier
