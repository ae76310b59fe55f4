#include "compress/widths.h"

namespace espalier {

Metas metas_at(const Graph& graph, const std::vector<ChannelGroup>& groups, const std::vector<int>& kept) {
  Metas metas;
  for (const Graph::Value& v : graph.values) metas.push_back(v.meta);
  for (size_t g = 0; g < groups.size(); ++g)
    for (const ChannelGroup::Member& m : groups[g].members)
      metas[m.value].shape[m.axis] -= groups[g].channels - kept[g];
  for (const Graph::Item& item : graph.items) {
    Metas in;
    for (const int v : item.in) in.push_back(metas[v]);
    const Metas out = item.op->infer(in);
    for (size_t i = 0; i < out.size(); ++i) metas[item.out[i]] = out[i];
  }
  return metas;
}

Cost cost_at(const Graph& graph, const Metas& metas) {
  Cost c;
  for (size_t v = 0; v < metas.size(); ++v) {
    if (!graph.values[v].param.defined()) continue;
    c.bytes += metas[v].shape.elements() * bytes_of(metas[v].dtype);
    if (graph.values[v].trainable) c.parameters += metas[v].shape.elements();
  }
  for (const Graph::Item& item : graph.items) {
    Metas in, out;
    for (const int v : item.in) in.push_back(metas[v]);
    for (const int v : item.out) out.push_back(metas[v]);
    c.macs += item.op->macs(in, out);
  }
  return c;
}

}  // namespace espalier
