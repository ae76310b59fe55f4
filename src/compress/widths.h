#pragma once

#include <vector>

#include "graph/channel_groups.h"
#include "graph/cost.h"

namespace espalier {

/// Shapes of all values of a graph, at its traced input size, in which group g keeps kept[g] channels.
/// Inferred; no tensor is touched.
Metas metas_at(const Graph& graph, const std::vector<ChannelGroup>& groups, const std::vector<int>& kept);

/// What a graph with these shapes weighs.
Cost cost_at(const Graph& graph, const Metas& metas);

}  // namespace espalier
