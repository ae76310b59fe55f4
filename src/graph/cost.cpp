#include "graph/cost.h"

namespace espalier {

int64_t item_macs(const Graph& graph, const Graph::Item& item) {
  Metas in, out;
  for (int v : item.in) in.push_back(graph.values[v].meta);
  for (int v : item.out) out.push_back(graph.values[v].meta);
  return item.op->macs(in, out);
}

Cost cost(const Graph& graph) {
  Cost c;
  for (const Graph::Value& v : graph.values) {
    if (!v.param.defined()) continue;
    c.bytes += v.param.bytes();
    if (v.trainable || v.meta.dtype != DType::kF32) c.parameters += v.param.elements();
  }
  for (const Graph::Item& item : graph.items) c.macs += item_macs(graph, item);
  return c;
}

}  // namespace espalier
