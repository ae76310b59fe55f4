#include "passes/pad_channels.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/error.h"
#include "graph/channel_groups.h"
#include "passes/infer_shapes.h"

namespace espalier {

namespace {

/// Per axis of a parameter: how many channels come before each position; one more entry for its end.
using Gaps = std::map<std::pair<int, int>, std::vector<int>>;

/// True if the group's channels lie side by side and in order wherever they are, so that "behind them" is one
/// place everywhere. Groups lie so unless a network shuffles channels.
bool lies_together(const ChannelGroup& group) {
  return std::all_of(group.members.begin(), group.members.end(), [](const ChannelGroup::Member& m) {
    return std::adjacent_find(m.index.begin(), m.index.end(), [](int a, int b) { return b != a + 1; }) ==
           m.index.end();
  });
}

/// The tensor with zeros in the gaps of one axis.
Tensor with_gaps(const Tensor& from, int axis, const std::vector<int>& gaps) {
  Shape shape = from.shape();
  const int extent = shape[axis];
  int64_t outer = 1, inner = bytes_of(from.dtype());
  for (int a = 0; a < axis; ++a) outer *= shape[a];
  for (int a = axis + 1; a < shape.axes(); ++a) inner *= shape[a];
  for (const int gap : gaps) shape[axis] += gap;
  if (!from.has_data()) return Tensor::without_data({shape, from.dtype()}, from.device());
  const Tensor source = from.to(Device::kCpu), target = Tensor::zeros(shape, Device::kCpu, from.dtype());
  const auto* read = static_cast<const char*>(source.data());
  auto* write = static_cast<char*>(target.data());
  for (int64_t o = 0; o < outer; ++o) {
    for (int i = 0; i < extent; ++i) {
      write += gaps[i] * inner;
      std::memcpy(write, read, static_cast<size_t>(inner));
      write += inner;
      read += inner;
    }
    write += gaps[extent] * inner;
  }
  return target.to(from.device());
}

}  // namespace

int pad_channels(Graph& graph, int unit) {
  ESPALIER_CHECK(unit >= 1, "pad_channels: unit is ", unit, "; it must be at least 1");
  Gaps gaps;
  int added = 0;
  for (const ChannelGroup& group : channel_groups(graph)) {
    const int more = (unit - group.channels % unit) % unit;
    if (more == 0 || !lies_together(group)) continue;
    added += more;
    for (const ChannelGroup::Member& m : group.members) {
      std::vector<int>& gap = gaps[{m.value, m.axis}];
      gap.resize(static_cast<size_t>(graph.values[m.value].meta.shape[m.axis]) + 1);
      gap[m.index.back() + 1] += more;
    }
  }
  if (added == 0) return 0;
  for (const auto& [place, gap] : gaps) {
    Graph::Value& value = graph.values[place.first];
    value.param = with_gaps(value.param, place.second, gap);
  }
  infer_shapes(graph);
  return added;
}

}  // namespace espalier
