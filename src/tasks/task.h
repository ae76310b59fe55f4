#pragma once
// One interface for loss, metric, decoding and drawing: the loop knows no task.

#include <memory>

#include "base/json.h"
#include "tasks/batch.h"

namespace espalier {

/// A metric over a whole evaluation set. `value` is the primary one: best model, early stop, sensitivity and
/// pruning use it.
struct MetricResult {
  std::string name;          ///< "top1"
  double value = 0;          ///< larger is better
  double low = 0, high = 0;  ///< 95 % interval
  int64_t samples = 0;
  double loss = 0;                ///< mean evaluation loss
  std::shared_ptr<Json> details;  ///< everything else: top-5, per class, confusion matrix
};

struct Metric {
  virtual ~Metric() = default;
  virtual void update(const Tensors& outputs, const Batch& batch) = 0;  ///< outputs on the CPU
  virtual MetricResult result() const = 0;
};

struct Task {
  virtual ~Task() = default;
  virtual const char* name() const = 0;                                       ///< "classification"
  virtual const char* metric_name() const = 0;                                ///< "top1"
  virtual Tensor loss(const Tensors& outputs, const Batch& batch) const = 0;  ///< a scalar with history
  virtual std::unique_ptr<Metric> metric() const = 0;
  /// For people and for --json: what the outputs of one image mean.
  virtual Json decode(const Tensors& outputs, int image, const std::vector<std::string>& labels) const = 0;
};

/// {"label_smoothing", "class_weights", ...} are the task's own keys. Throws Error for an unknown task.
std::unique_ptr<Task> make_task(const std::string& name, int classes, const Json& options);

}  // namespace espalier
