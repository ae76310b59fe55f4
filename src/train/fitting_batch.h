#pragma once

#include "graph/graph.h"
#include "tasks/task.h"

namespace espalier {

/// The first `count` pictures of a batch that lies on the CPU, with all that belongs to them.
Batch first_of(const Batch& batch, int count);

/// After a training step had no memory: which share of the batch has. Tries forward and backward on a half, a
/// quarter, ...; 0 if not even one picture fits. The graph's gradients and running statistics change.
int largest_batch_that_fits(const Graph& graph, const Task& task, const Batch& batch, Device device);

}  // namespace espalier
