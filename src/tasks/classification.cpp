// One label a picture: cross entropy, top-1 and top-5.

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "ops/ops.h"
#include "ops/targets.h"
#include "tasks/options.h"
#include "tasks/task.h"
#include "tasks/task_table.h"

namespace espalier {

namespace {

/// The 95 % score interval of a proportion (Wilson, 1927), which stays inside 0 .. 1 and holds for few
/// samples.
std::pair<double, double> wilson(int64_t hits, int64_t samples) {
  constexpr double z = 1.959963984540054;
  const double n = static_cast<double>(samples), p = static_cast<double>(hits) / n;
  const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {hits == 0 ? 0.0 : centre - half, hits == samples ? 1.0 : centre + half};
}

/// Classes by falling score, equal ones by number; the first `count` of them.
std::vector<int> best_classes(const float* scores, int classes, int count) {
  std::vector<int> order(static_cast<size_t>(classes));
  for (int k = 0; k < classes; ++k) order[k] = k;
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [scores](int a, int b) {
    return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
  });
  order.resize(static_cast<size_t>(count));
  return order;
}

/// log of the sum of exp(x), in double.
double log_sum_exp(const float* x, int count) {
  const double top = *std::max_element(x, x + count);
  double sum = 0;
  for (int k = 0; k < count; ++k) sum += std::exp(x[k] - top);
  return top + std::log(sum);
}

const Tensor& logits_of(const Tensors& outputs) {
  ESPALIER_CHECK(outputs.size() == 1 && outputs[0].shape().axes() == 2, "classification: the network has ",
                 outputs.size(), " outputs", outputs.empty() ? "" : str(", the first ", outputs[0].shape()),
                 "; one of [N,classes] is needed");
  return outputs[0];
}

const Tensor& labels_of(const Batch& batch) {
  ESPALIER_CHECK(batch.targets.size() == 1, "classification: a batch has ", batch.targets.size(),
                 " targets; one is needed, the labels");
  return batch.targets[0];
}

class ClassificationMetric final : public Metric {
 public:
  explicit ClassificationMetric(const char* name) : name_(name) {}

  void update(const Tensors& outputs, const Batch& batch) override {
    const Tensor logits = logits_of(outputs).to(Device::kCpu);
    const int images = logits.shape()[0], classes = logits.shape()[1];
    ESPALIER_CHECK(batch.targets.size() == 1 && batch.targets[0].shape() == Shape({images}),
                   "classification: there are labels for another number of images than ", images);
    if (confusion_.empty()) {
      classes_ = classes;
      confusion_.assign(static_cast<size_t>(classes) * classes, 0);
    }
    ESPALIER_CHECK(classes == classes_, "classification: outputs have ", classes, " classes after ",
                   classes_);
    const Tensor labels = batch.targets[0].to(Device::kCpu);
    for (int i = 0; i < images; ++i) {
      const float* x = logits.f32() + int64_t{i} * classes;
      const int label = labels.s32()[i];
      ESPALIER_CHECK(label >= 0 && label < classes, image_name(batch, i), ": its label is ", label,
                     ", the network has classes 0 .. ", classes - 1);
      for (int k = 0; k < classes; ++k)
        ESPALIER_CHECK(std::isfinite(x[k]), image_name(batch, i), ": the network's output for class ", k,
                       " is ", x[k], "; its weights or running statistics are damaged, or training diverged");
      const std::vector<int> best = best_classes(x, classes, std::min(5, classes));
      ++confusion_[static_cast<size_t>(label) * classes + best[0]];
      hits_ += best[0] == label;
      hits_of_five_ += std::find(best.begin(), best.end(), label) != best.end();
      loss_ += log_sum_exp(x, classes) - x[label];
      ++samples_;
    }
  }

  MetricResult summary() const override {
    ESPALIER_CHECK(samples_ > 0, "classification: no image was measured");
    MetricResult r;
    r.name = name_;
    r.samples = samples_;
    r.value = share(hits_, samples_);
    r.loss = loss_ / static_cast<double>(samples_);
    std::tie(r.low, r.high) = wilson(hits_, samples_);
    return r;
  }

  MetricResult result() const override {
    MetricResult r = summary();
    Json per_class = Json::array(), counts = Json::array(), confusion = Json::array();
    for (int label = 0; label < classes_; ++label) {
      const auto row = confusion_.begin() + int64_t{label} * classes_;
      int64_t count = 0;
      for (int k = 0; k < classes_; ++k) count += row[k];
      counts.push_back(count);
      // A class without images has no accuracy; it is not 0.
      per_class.push_back(count ? Json(share(row[label], count)) : Json(nullptr));
      confusion.push_back(std::vector<int64_t>(row, row + classes_));
    }
    const int few = std::min(5, classes_);
    r.details = std::make_shared<Json>(Json{{"top" + std::to_string(few), share(hits_of_five_, samples_)},
                                            {"per_class", per_class},
                                            {"counts", counts},
                                            {"confusion", confusion}});
    return r;
  }

 private:
  static double share(int64_t hits, int64_t of) {
    return static_cast<double>(hits) / static_cast<double>(of);
  }

  const char* name_;
  int classes_ = 0;
  int64_t samples_ = 0, hits_ = 0, hits_of_five_ = 0;
  double loss_ = 0;
  std::vector<int64_t> confusion_;  ///< [label, prediction]
};

struct Classification final : Task {
  int classes = 0;
  CrossEntropyOptions options;

  const char* name() const override { return "classification"; }
  const char* metric_name() const override { return "top1"; }

  Tensor loss(const Tensors& outputs, const Batch& batch) const override {
    const Tensor& logits = logits_of(outputs);
    return softmax_cross_entropy(logits, labels_of(batch).to(logits.device()), options);
  }

  Tensors checked_targets(const Batch& batch) const override {
    check_labels(name(), labels_of(batch), classes, CrossEntropyOptions().ignored_label);
    return batch.targets;
  }

  Tensor distillation(const Tensors& outputs, const Tensors& teacher, const Batch& batch,
                      double temperature) const override {
    const Tensor& logits = logits_of(outputs);
    return distillation_loss(logits, logits_of(teacher), labels_of(batch).to(logits.device()),
                             static_cast<float>(temperature));
  }

  std::unique_ptr<Metric> metric() const override {
    return std::make_unique<ClassificationMetric>(metric_name());
  }

  Prediction decode(const Tensors& outputs, int image, const Annotation&) const override {
    const Tensor logits = logits_of(outputs).to(Device::kCpu);
    ESPALIER_CHECK(image >= 0 && image < logits.shape()[0], "classification: image ", image, " of ",
                   logits.shape()[0]);
    const int classes = logits.shape()[1];
    const float* x = logits.f32() + int64_t{image} * classes;
    const double total = log_sum_exp(x, classes);
    Prediction prediction;
    for (const int k : best_classes(x, classes, std::min(5, classes)))
      prediction.classes.push_back({k, std::exp(x[k] - total)});
    return prediction;
  }

  Json decoding() const override { return {{"scores", "softmax"}}; }

  Json describe(const Prediction& prediction, const std::vector<std::string>& labels) const override {
    Json best = Json::array();
    for (const ClassScore& c : prediction.classes)
      best.push_back(
          {{"category_id", c.label}, {"category", label_name(labels, c.label)}, {"score", c.score}});
    return best;
  }
};

}  // namespace

std::unique_ptr<Task> make_classification(int classes, const Json& given) {
  const TaskOptions options("classification", given, {"label_smoothing", "class_weights"});
  auto task = std::make_unique<Classification>();
  task->classes = classes;
  task->options.label_smoothing = static_cast<float>(options.smoothing("label_smoothing"));
  task->options.class_weights = options.class_weights("class_weights", classes);
  return task;
}

}  // namespace espalier
