#include "passes/infer_shapes.h"

namespace espalier {

void infer_shapes(Graph& graph) {
  Metas inputs;
  for (const int v : graph.inputs) inputs.push_back(graph.values[v].meta);
  const Metas metas = graph.infer(inputs);
  for (size_t v = 0; v < metas.size(); ++v) graph.values[v].meta = metas[v];
  graph.verify();
}

}  // namespace espalier
