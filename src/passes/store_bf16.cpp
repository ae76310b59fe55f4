#include "passes/store_bf16.h"

#include "ops/cast.h"

namespace espalier {

namespace {

/// Rewrites the items in their order, so that what an item reads has its final type.
struct Storing {
  Graph& graph;
  std::vector<Graph::Item> items;
  std::vector<int> twins;  ///< of values: the same numbers in the other type, -1 if nobody asked yet

  /// The value in the type wanted: itself or its cast.
  int in_type(int value, DType type) {
    if (graph.values[value].meta.dtype == type) return value;
    if (twins[value] >= 0) return twins[value];
    auto op = std::make_shared<Cast>();
    op->to_bf16 = type == DType::kBF16;
    const std::string name = graph.values[value].name + (op->to_bf16 ? "/bf16" : "/f32");
    const int twin = static_cast<int>(graph.values.size());
    graph.values.push_back({.name = name, .meta = {graph.values[value].meta.shape, type}});
    items.push_back({name, op, {value}, {twin}});
    twins.resize(graph.values.size(), -1);
    twins[value] = twin;
    return twin;
  }

  void add(Graph::Item item) {
    const uint32_t free = item.op->may_be_bf16();
    Metas metas;
    for (size_t i = 0; i < item.in.size(); ++i) {
      int& value = item.in[i];
      if (graph.values[value].meta.dtype == DType::kF32 || graph.values[value].meta.dtype == DType::kBF16)
        value = in_type(value, free >> i & 1 ? DType::kBF16 : DType::kF32);
      metas.push_back(graph.values[value].meta);
    }
    const Metas out = item.op->infer(metas);
    for (size_t i = 0; i < out.size(); ++i) graph.values[item.out[i]].meta.dtype = out[i].dtype;
    items.push_back(std::move(item));
  }
};

}  // namespace

int store_bf16(Graph& g) {
  Storing storing{g, {}, std::vector<int>(g.values.size(), -1)};
  int stored = 0;
  for (Graph::Item& item : g.items) {
    stored += item.op->may_be_bf16() != 0;
    storing.add(std::move(item));
  }
  for (int& v : g.outputs) v = storing.in_type(v, DType::kF32);
  g.items = std::move(storing.items);
  g.compact();
  g.verify();
  return stored;
}

}  // namespace espalier
