#include "graph/channel_groups.h"

#include <algorithm>
#include <map>

#include "ops/channel_ties.h"

namespace espalier {

namespace {

/// "block3/expand/w" to "block3/expand".
std::string place_of(const std::string& parameter) { return parameter.substr(0, parameter.rfind('/')); }

/// Why a parameter's axis belongs to a group, in words for people.
std::string reason(const Graph& graph, int value, int axis) {
  const int axes = graph.values[value].meta.shape.axes();
  if (axes == 1) return "per channel";
  if (axes == 3) return "depthwise";
  return axis == 0 ? "makes it" : "reads it";
}

}  // namespace

std::vector<ChannelGroup> channel_groups(const Graph& graph) {
  Metas metas;
  for (const Graph::Value& v : graph.values) metas.push_back(v.meta);
  ChannelTies ties;
  for (const Graph::Item& item : graph.items) {
    ties.begin_item(item.in, item.out, metas);
    item.op->channels(ties);
  }
  for (const std::vector<int>* ends : {&graph.inputs, &graph.outputs})
    for (int v : *ends)
      if (const int axes = metas[v].shape.axes(); axes > 1) ties.fixed({v, axes - 1});

  // A set of tied channels is known by where it lives: the parameter axes it appears on. Sets that live in
  // the same places form one group; their order is that of the channels on the first place.
  struct Place {
    ChannelTies::Axis axis;
    int position;
  };
  std::map<int, std::vector<Place>> sets;
  for (const ChannelTies::Axis& axis : ties.axes()) {
    if (!graph.is_parameter(axis.value)) continue;
    for (int c = 0; c < metas[axis.value].shape[axis.axis]; ++c)
      if (const int set = ties.find(axis, c); !ties.is_fixed(set)) sets[set].push_back({axis, c});
  }
  std::map<std::vector<ChannelTies::Axis>, ChannelGroup> groups;
  std::vector<const std::vector<ChannelTies::Axis>*> order;
  for (auto& [set, places] : sets) {
    std::stable_sort(places.begin(), places.end(),
                     [](const Place& a, const Place& b) { return a.axis < b.axis; });
    std::vector<ChannelTies::Axis> key;
    for (const Place& p : places) key.push_back(p.axis);
    const auto [at, added] = groups.try_emplace(std::move(key));
    ChannelGroup& group = at->second;
    if (added) {
      order.push_back(&at->first);
      for (const Place& p : places) {
        const int axes = metas[p.axis.value].shape.axes();
        const bool filter = axes == 4 || axes == 2;
        group.members.push_back(
            {p.axis.value, p.axis.axis, filter && p.axis.axis == 0, filter && p.axis.axis != 0, {}});
        group.tied_by.push_back(reason(graph, p.axis.value, p.axis.axis));
      }
    }
    for (size_t m = 0; m < places.size(); ++m) group.members[m].index.push_back(places[m].position);
    ++group.channels;
  }
  std::vector<ChannelGroup> found;
  for (const auto* key : order) {
    ChannelGroup& group = groups.at(*key);
    const auto root =
        std::find_if(group.members.begin(), group.members.end(), [](const auto& m) { return m.produces; });
    if (root == group.members.end()) continue;  // nothing makes these channels: nothing can stop making them
    group.name = place_of(graph.values[root->value].name);
    found.push_back(std::move(group));
  }
  std::stable_sort(found.begin(), found.end(), [](const ChannelGroup& a, const ChannelGroup& b) {
    return a.members.front().value < b.members.front().value;
  });
  return found;
}

}  // namespace espalier
