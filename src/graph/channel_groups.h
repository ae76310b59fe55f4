#pragma once
// Groups of tied channels: what pruning can remove, and everything that goes with it.

#include "graph/graph.h"

namespace espalier {

/// A group: channels that exist in several tensors at once. Removing channel c removes index[c] from every
/// member's axis.
struct ChannelGroup {
  struct Member {
    int value;  ///< a parameter of the graph
    int axis;
    bool produces;           ///< the axis is the output channels of a filter (axis 0 of [K,R,S,C] or [K,C])
    bool reads;              ///< the axis is what a filter sums over, its input channels
    std::vector<int> index;  ///< per channel of the group: its position on this axis
  };
  std::string name;  ///< the place of its first producer, "block3/expand"
  int channels = 0;
  std::vector<Member> members;  ///< in order of values; filters first made come first
  std::vector<std::string>
      tied_by;  ///< per member: why it is here, for people ("filters", "norm", "reads it", ...)
};

/// All removable groups of a graph, in the order of their first producer. Deterministic. Groups that touch a
/// network output, an image channel or anything an op declared fixed are left out.
std::vector<ChannelGroup> channel_groups(const Graph& graph);

}  // namespace espalier
