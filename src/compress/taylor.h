#pragma once
// What removing a channel does to the loss, to first order.

#include "compress/criterion.h"
#include "tasks/task.h"

namespace espalier {

/// For every group the mean over the batches of (sum w * dL/dw)^2, the sum over all weights that read the
/// channel (Molchanov et al., 2019, "Importance Estimation for Neural Network Pruning", its gates put where a
/// channel is read: scaling a channel and scaling the weights that read it are the same, whatever norms,
/// depthwise layers and additions made it). With the running statistics as they are, since the cut network
/// starts with them. Reads at most `batches` of the source, and leaves the graph as it was. Throws Error when
/// the source is empty; Interrupted.
ChannelScores taylor_scores(const Graph& graph, const Task& task, BatchSource& source, int64_t batches);

}  // namespace espalier
