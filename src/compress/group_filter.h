#pragma once
// Groups by layer names with wildcards, as recipes write them.

#include <string>
#include <vector>

#include "graph/channel_groups.h"

namespace espalier {

/// `include`: only groups with a layer that matches one of these; empty: all. `exclude`: no group with a
/// layer that matches one of these; it wins. '*' stands for any characters, '?' for one.
struct GroupFilter {
  std::vector<std::string> include, exclude;
};

/// The layers whose output channels are the group's: places of its filters and depthwise filters,
/// "block2/project". Layers that only read the channels do not count.
std::vector<std::string> layers_of(const Graph& graph, const ChannelGroup& group);

/// Per group: does it pass the filter? Throws Error, with the nearest layer name, when a pattern matches no
/// layer of any group.
std::vector<bool> filter_groups(const Graph& graph, const std::vector<ChannelGroup>& groups,
                                const GroupFilter& filter);

}  // namespace espalier
