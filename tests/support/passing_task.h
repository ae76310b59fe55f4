#pragma once

#include <nlohmann/json.hpp>

#include "tasks/task.h"

namespace espalier::test {

/// Does what another one does, which outlives it; for tests that change a part of it.
struct PassingTask : Task {
  const Task& inner;
  explicit PassingTask(const Task& inner) : inner(inner) {}
  const char* name() const override { return inner.name(); }
  const char* metric_name() const override { return inner.metric_name(); }
  Tensor loss(const Tensors& outputs, const Batch& batch) const override {
    return inner.loss(outputs, batch);
  }
  Tensors checked_targets(const Batch& batch) const override { return inner.checked_targets(batch); }
  Tensor distillation(const Tensors& outputs, const Tensors& teacher, const Batch& batch,
                      double temperature) const override {
    return inner.distillation(outputs, teacher, batch, temperature);
  }
  std::unique_ptr<Metric> metric() const override { return inner.metric(); }
  Prediction decode(const Tensors& outputs, int image, const Annotation& picture) const override {
    return inner.decode(outputs, image, picture);
  }
  Json decoding() const override { return inner.decoding(); }
  Json describe(const Prediction& prediction, const std::vector<std::string>& labels) const override {
    return inner.describe(prediction, labels);
  }
};

}  // namespace espalier::test
