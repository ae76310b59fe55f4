#include "passes/pad_channels.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "graph/channel_groups.h"
#include "passes/infer_shapes.h"
#include "passes/take.h"

namespace espalier {

namespace {

/// Per axis of a parameter: how many new channels come before each position; one more entry for its end.
using Gaps = std::map<std::pair<int, int>, std::vector<int>>;

/// True if the group's channels lie side by side and in order wherever they are, so that "behind them" is one
/// place everywhere. Groups lie so unless a network shuffles channels.
bool lies_together(const ChannelGroup& group) {
  return std::all_of(group.members.begin(), group.members.end(), [](const ChannelGroup::Member& m) {
    return std::adjacent_find(m.index.begin(), m.index.end(), [](int a, int b) { return b != a + 1; }) ==
           m.index.end();
  });
}

/// Where the positions of the axis with its gaps come from.
std::vector<int> positions_with(const std::vector<int>& gap) {
  std::vector<int> positions;
  for (size_t i = 0; i < gap.size(); ++i) {
    positions.insert(positions.end(), static_cast<size_t>(gap[i]), -1);
    if (i + 1 < gap.size()) positions.push_back(static_cast<int>(i));
  }
  return positions;
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
    value.param = take(value.param, place.second, positions_with(gap));
  }
  infer_shapes(graph);
  return added;
}

}  // namespace espalier
