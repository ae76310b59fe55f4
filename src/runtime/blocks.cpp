#include "runtime/blocks.h"

#include "ops/conv2d.h"

namespace espalier {

std::vector<Block> blocks_of(const Graph& graph) {
  const int count = static_cast<int>(graph.items.size());
  std::vector<int> uses(graph.values.size(), 0);
  for (const Graph::Item& item : graph.items)
    for (int v : item.in) ++uses[v];
  for (int v : graph.outputs) ++uses[v];
  const auto follows = [&](int i) {
    return graph.items[i].in[0] == graph.items[i - 1].out[0] && uses[graph.items[i].in[0]] == 1;
  };
  std::vector<Block> blocks;
  for (int i = 0; i < count; ++i) blocks.push_back({i, i});
  for (int i = 0; i + 2 < count; ++i)
    if (graph.items[i].as<Conv2d>() && graph.items[i + 1].as<DepthwiseConv2d>() &&
        graph.items[i + 2].as<Conv2d>() && follows(i + 1) && follows(i + 2)) {
      blocks[i] = blocks[i + 1] = blocks[i + 2] = {i, i + 2};
      i += 2;
    }
  return blocks;
}

}  // namespace espalier
