#include "tasks/evaluate.h"

#include "base/error.h"
#include "base/interrupt.h"

namespace espalier {

MetricResult evaluate(Session& session, const Task& task, BatchSource& source, int64_t max_batches) {
  const std::unique_ptr<Metric> metric = task.metric();
  Batch batch;
  source.start();
  for (int64_t i = 0; max_batches < 0 || i < max_batches; ++i) {
    if (!source.next(batch)) break;
    if (interrupt_requested()) throw Interrupted("interrupted during an evaluation");
    metric->update(session.run({network_images(batch, session.graph().device())}), batch);
  }
  return metric->result();
}

}  // namespace espalier
