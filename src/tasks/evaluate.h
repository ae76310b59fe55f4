#pragma once

#include "runtime/session.h"
#include "tasks/task.h"

namespace espalier {

/// Runs the whole source (or its first `max_batches`) through a session and measures. Throws Error when there
/// is nothing to measure or an output is not finite, Interrupted between batches after Ctrl-C.
MetricResult evaluate(Session& session, const Task& task, BatchSource& source, int64_t max_batches = -1);

}  // namespace espalier
