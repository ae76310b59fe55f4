#pragma once
// One interface for loss, metric and decoding: the loop knows no task. What a prediction looks like on a
// picture is drawing.h.

#include <memory>

#include "base/json.h"
#include "tasks/batch.h"
#include "tasks/prediction.h"

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
  /// Outputs on any device. Boxes and masks are compared with batch.annotations, in the pixels of the files.
  virtual void update(const Tensors& outputs, const Batch& batch) = 0;
  /// Value, loss and number of images only: what a sweep asks for hundreds of times.
  virtual MetricResult summary() const = 0;
  /// The summary with interval and details.
  virtual MetricResult result() const = 0;
};

struct Task {
  virtual ~Task() = default;
  virtual const char* name() const = 0;                                       ///< "classification"
  virtual const char* metric_name() const = 0;                                ///< "top1"
  virtual Tensor loss(const Tensors& outputs, const Batch& batch) const = 0;  ///< a scalar with history
  /// The batch's targets as a GPU gets them: looked at here, since there nobody does (ops/targets.h), and
  /// filled up where their extent differs from batch to batch, so that few shapes occur. Throws Error as
  /// loss() would.
  virtual Tensors checked_targets(const Batch& batch) const = 0;
  /// How far the outputs are from a teacher's for the same batch (ops.h: distillation_loss() and its kin); a
  /// scalar with history. Of the targets only what is ignored counts.
  virtual Tensor distillation(const Tensors& outputs, const Tensors& teacher, const Batch& batch,
                              double temperature) const = 0;
  virtual std::unique_ptr<Metric> metric() const = 0;
  /// What the outputs, on any device, say about image `image` of their batch. Of `picture` only the size and
  /// the map are read; classification reads neither.
  virtual Prediction decode(const Tensors& outputs, int image, const Annotation& picture) const = 0;
  /// What decode() goes by, for programs that read the outputs themselves.
  virtual Json decoding() const = 0;
  /// A prediction for --json and for files: a list.
  virtual Json describe(const Prediction& prediction, const std::vector<std::string>& labels) const = 0;
};

/// `options` are the task's own keys, as a recipe's `task:` section and Model::task_options hold them; null
/// is none. Throws Error for an unknown task or key and for a value that is impossible.
std::unique_ptr<Task> make_task(const std::string& name, int classes, const Json& options);

/// Throws Error, beginning with `name`, where an output of the network for a picture is not finite.
void check_finite_output(bool finite, const std::string& name);
/// Throws Error, beginning with `name`, for a picture without pixels.
void check_picture(const Annotation& picture, const std::string& name);
/// A picture's path for messages; its place in the batch where there is none.
std::string image_name(const Batch& batch, int i);
/// Null for NaN: what a class without examples has.
Json number_or_null(double value);
/// A class's name; its number where there is none.
std::string label_name(const std::vector<std::string>& labels, int label);

}  // namespace espalier
