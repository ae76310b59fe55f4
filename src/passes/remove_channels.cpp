#include "passes/remove_channels.h"

#include <map>

#include "base/error.h"
#include "passes/infer_shapes.h"
#include "passes/take.h"

namespace espalier {

namespace {

/// Per axis of a parameter: which positions go.
using Cuts = std::map<std::pair<int, int>, std::vector<bool>>;

void check_group(const Graph& graph, const ChannelGroup& group) {
  ESPALIER_CHECK(group.channels > 0 && !group.members.empty(), "remove_channels: group '", group.name,
                 "' is empty; take groups from channel_groups()");
  for (const ChannelGroup::Member& m : group.members) {
    ESPALIER_CHECK(m.value >= 0 && m.value < static_cast<int>(graph.values.size()) &&
                       graph.is_parameter(m.value) && m.axis >= 0 &&
                       m.axis < graph.values[m.value].meta.shape.axes() &&
                       m.index.size() == static_cast<size_t>(group.channels),
                   "remove_channels: group '", group.name,
                   "' does not fit this graph; take groups from channel_groups() of the same graph");
    const int extent = graph.values[m.value].meta.shape[m.axis];
    for (const int position : m.index)
      ESPALIER_CHECK(position >= 0 && position < extent, "remove_channels: group '", group.name,
                     "' reaches position ", position, " of ", graph.values[m.value].name, ", which has ",
                     extent, "; take groups from channel_groups() of the same graph");
  }
}

void mark(const Graph& graph, const Removal& removal, Cuts& cuts) {
  const ChannelGroup& group = removal.group;
  check_group(graph, group);
  std::vector<bool> gone(static_cast<size_t>(group.channels), false);
  for (const int c : removal.channels) {
    ESPALIER_CHECK(c >= 0 && c < group.channels, "remove_channels: group '", group.name, "' has ",
                   group.channels, " channels, channel ", c, " was to go");
    ESPALIER_CHECK(!gone[c], "remove_channels: channel ", c, " of group '", group.name, "' is given twice");
    gone[c] = true;
  }
  ESPALIER_CHECK(removal.channels.size() < gone.size(), "remove_channels: all ", group.channels,
                 " channels of group '", group.name, "' were to go; at least one must stay");
  for (const ChannelGroup::Member& m : group.members) {
    std::vector<bool>& cut = cuts[{m.value, m.axis}];
    cut.resize(static_cast<size_t>(graph.values[m.value].meta.shape[m.axis]), false);
    for (const int c : removal.channels) cut[m.index[c]] = true;
  }
}

std::vector<int> positions_left(const std::vector<bool>& gone) {
  std::vector<int> left;
  for (size_t i = 0; i < gone.size(); ++i)
    if (!gone[i]) left.push_back(static_cast<int>(i));
  return left;
}

}  // namespace

int remove_channels(Graph& graph, const std::vector<Removal>& removals) {
  Cuts cuts;  // of all removals together, so that each is numbered as in the given graph
  int removed = 0;
  for (const Removal& removal : removals) {
    mark(graph, removal, cuts);
    removed += static_cast<int>(removal.channels.size());
  }
  Graph cut = graph;  // the given graph stays whole when shapes turn out not to fit
  for (const auto& [place, gone] : cuts) {
    Graph::Value& value = cut.values[place.first];
    value.param = take(value.param, place.second, positions_left(gone));
  }
  infer_shapes(cut);
  graph = std::move(cut);
  return removed;
}

}  // namespace espalier
