#include "compress/group_filter.h"

#include <algorithm>

#include "base/error.h"
#include "base/nearest.h"
#include "base/pattern.h"

namespace espalier {

namespace {

/// Per group: does one of its layers match one of the patterns? Throws Error for a pattern without a match.
std::vector<bool> hits(const std::vector<std::vector<std::string>>& layers,
                       const std::vector<std::string>& patterns, const char* key) {
  std::vector<bool> hit(layers.size(), false);
  for (const std::string& pattern : patterns) {
    bool used = false;
    std::vector<std::string> known;
    for (size_t g = 0; g < layers.size(); ++g)
      for (const std::string& layer : layers[g]) {
        known.push_back(layer);
        if (!matches(pattern, layer)) continue;
        hit[g] = used = true;
      }
    ESPALIER_CHECK(used, key, ": '", pattern, "' matches no layer whose channels can be removed",
                   did_you_mean(pattern, known));
  }
  return hit;
}

}  // namespace

std::vector<std::string> layers_of(const Graph& graph, const ChannelGroup& group) {
  std::vector<std::string> layers;
  for (const ChannelGroup::Member& m : group.members) {
    const bool depthwise = graph.values[m.value].meta.shape.axes() == 3;
    if (!m.produces && !depthwise) continue;
    const std::string& name = graph.values[m.value].name;
    const std::string layer = name.substr(0, name.rfind('/'));
    if (std::find(layers.begin(), layers.end(), layer) == layers.end()) layers.push_back(layer);
  }
  return layers;
}

std::vector<bool> filter_groups(const Graph& graph, const std::vector<ChannelGroup>& groups,
                                const GroupFilter& filter) {
  std::vector<std::vector<std::string>> layers;
  for (const ChannelGroup& group : groups) layers.push_back(layers_of(graph, group));
  std::vector<bool> pass(groups.size(), true);
  if (!filter.include.empty()) pass = hits(layers, filter.include, "include");
  const std::vector<bool> out = hits(layers, filter.exclude, "exclude");
  for (size_t g = 0; g < pass.size(); ++g) pass[g] = pass[g] && !out[g];
  return pass;
}

}  // namespace espalier
