#pragma once
// The other way to try a network without some channels: keep them and let them be zero.

#include <algorithm>

#include "passes/remove_channels.h"

namespace espalier::test {

/// A copy in which everything that makes these channels is zero: filters, depthwise filters, norms and
/// biases. What reads them stays.
inline Graph masked(const Graph& graph, const std::vector<Removal>& removals) {
  Graph copy = graph.clone();
  for (const Removal& removal : removals)
    for (const ChannelGroup::Member& m : removal.group.members) {
      const Tensor& tensor = copy.values[m.value].param;
      const Shape& shape = tensor.shape();
      if (m.reads) continue;
      int64_t outer = 1, inner = 1;
      for (int a = 0; a < m.axis; ++a) outer *= shape[a];
      for (int a = m.axis + 1; a < shape.axes(); ++a) inner *= shape[a];
      for (const int c : removal.channels)
        for (int64_t o = 0; o < outer; ++o)
          std::fill_n(tensor.f32() + (o * shape[m.axis] + m.index[c]) * inner, inner, 0.0f);
    }
  return copy;
}

}  // namespace espalier::test
