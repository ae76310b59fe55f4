#pragma once
// The cut itself, and what makes a network usable right after it.

#include "compress/select.h"

namespace espalier {

/// The graph without the channels that the plan gives up, chosen by the plan's criterion. All parameters are
/// the result's own, without gradient state.
Graph prune(const Graph& graph, const PruningPlan& plan);

/// Measures the running statistics of every batch norm anew on the first `batches` of a source: forward in
/// training mode, means of the batches' statistics. After a cut the old ones describe inputs that are no
/// longer there. Statistics become new tensors; weights do not change. Deterministic. Returns the batches
/// used. Throws Error when the source gives none, Interrupted after Ctrl-C.
int64_t recalibrate_batch_norms(Graph& graph, BatchSource& source, int64_t batches = 10);

}  // namespace espalier
