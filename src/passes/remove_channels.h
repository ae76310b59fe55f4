#pragma once

#include <vector>

#include "graph/channel_groups.h"

namespace espalier {

/// Channels of one group that shall go.
struct Removal {
  ChannelGroup group;         ///< from channel_groups() of the same graph
  std::vector<int> channels;  ///< of the group, in any order
};

/// Cuts channels out of every tensor of their group and infers all shapes anew. Parameters that change become
/// new tensors without gradient state, so graphs that share the old ones keep theirs; all removals of one
/// call are numbered as in the given graph. Outputs are those of a graph in which the filters, norms and
/// biases that make these channels are zero. Optimizer states are not touched: make them anew. Throws Error
/// for a group of another graph, a channel out of range or given twice, and for a group that would keep
/// nothing. Returns how many channels went.
int remove_channels(Graph& graph, const std::vector<Removal>& removals);

}  // namespace espalier
