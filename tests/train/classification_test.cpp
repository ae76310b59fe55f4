// The classification task against plain computations.

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "ops/autograd.h"
#include "runtime/session.h"
#include "support/expect_close.h"
#include "support/messages.h"
#include "support/random_tensor.h"
#include "tasks/evaluate.h"
#include "tasks/task.h"
#include "train/tiny_training.h"

namespace espalier {
namespace {

using test::expect_says;
using test::message_of;

Batch batch_of(const std::vector<int32_t>& labels) {
  Batch batch;
  batch.targets = {Tensor::from(labels, {static_cast<int>(labels.size())})};
  for (size_t i = 0; i < labels.size(); ++i) batch.names.push_back(str("folder/", i, ".jpg"));
  return batch;
}

TEST(ClassificationTest, CountsMatchANaiveComputation) {
  constexpr int kImages = 57, kClasses = 8;
  const auto task = make_task("classification", kClasses, Json::object());
  const auto metric = task->metric();
  std::vector<std::vector<int>> confusion(kClasses, std::vector<int>(kClasses));
  int hits = 0, hits_of_five = 0;
  double loss = 0;
  Random random(3, Purpose::kTest);
  for (int first = 0; first < kImages; first += 19) {  // several batches
    std::vector<float> logits;
    std::vector<int32_t> labels;
    for (int i = 0; i < 19; ++i) {
      labels.push_back(random.below(kClasses - 1));  // nothing of the last class
      std::vector<double> row;
      for (int k = 0; k < kClasses; ++k) row.push_back(2 * random.normal() + (k == labels.back()));
      double sum = 0;
      int above = 0, best = 0;
      for (int k = 0; k < kClasses; ++k) {
        logits.push_back(static_cast<float>(row[k]));
        sum += std::exp(row[k]);
        above += row[k] > row[labels.back()];
        if (row[k] > row[best]) best = k;
      }
      ++confusion[labels.back()][best];
      hits += above == 0;
      hits_of_five += above < 5;
      loss += std::log(sum) - row[labels.back()];
    }
    metric->update({Tensor::from(logits, {19, kClasses})}, batch_of(labels));
  }
  const MetricResult r = metric->result();
  EXPECT_EQ(r.name, "top1");
  EXPECT_EQ(r.samples, kImages);
  EXPECT_DOUBLE_EQ(r.value, double{1} * hits / kImages);
  EXPECT_NEAR(r.loss, loss / kImages, 1e-6);
  EXPECT_DOUBLE_EQ(r.details->at("top5").get<double>(), double{1} * hits_of_five / kImages);
  EXPECT_EQ(r.details->at("confusion").get<std::vector<std::vector<int>>>(), confusion);
  for (int label = 0; label < kClasses; ++label) {
    int count = 0;
    for (int k = 0; k < kClasses; ++k) count += confusion[label][k];
    EXPECT_EQ(r.details->at("counts")[label].get<int>(), count);
    if (count == 0)
      EXPECT_TRUE(r.details->at("per_class")[label].is_null()) << label;
    else
      EXPECT_DOUBLE_EQ(r.details->at("per_class")[label].get<double>(),
                       double{1} * confusion[label][label] / count);
  }
  EXPECT_EQ(confusion[kClasses - 1], std::vector<int>(kClasses, 0));
}

TEST(ClassificationTest, TheIntervalIsWilsons) {
  // Of 10 all right: the textbook's 0.722 .. 1; of 240 with 219: by the formula's other form, the roots of
  // (p - x)^2 = z^2 x (1 - x) / n.
  const auto interval = [](int hits, int images) {
    const auto metric = make_task("classification", 2, Json::object())->metric();
    for (int i = 0; i < images; ++i)
      metric->update({Tensor::from(std::vector<float>{0, 1}, {1, 2})}, batch_of({i < hits ? 1 : 0}));
    return metric->result();
  };
  const MetricResult all = interval(10, 10);
  EXPECT_NEAR(all.low, 0.7224672, 1e-6);
  EXPECT_EQ(all.high, 1);
  const MetricResult none = interval(0, 10);
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 1 - 0.7224672, 1e-6);
  const MetricResult most = interval(219, 240);
  for (const double x : {most.low, most.high})
    EXPECT_NEAR(std::pow(219.0 / 240 - x, 2), 1.959963984540054 * 1.959963984540054 * x * (1 - x) / 240,
                1e-12);
  EXPECT_LT(most.low, most.value);
  EXPECT_GT(most.high, most.value);
}

TEST(ClassificationTest, OfEqualScoresTheLowerClassWins) {
  const auto metric = make_task("classification", 3, Json::object())->metric();
  const std::vector<float> same = {1, 1, 1, 1, 1, 1};
  metric->update({Tensor::from(same, {2, 3})}, batch_of({0, 2}));
  EXPECT_EQ(metric->result().value, 0.5);
}

TEST(ClassificationTest, SmoothingAndWeightsAreInTheLoss) {
  const Tensor logits = test::random_tensor({4, 3});
  const Batch batch = batch_of({0, 2, 1, 2});
  const std::vector<double> weights = {1, 2, 0.5};
  const double s = 0.2;
  double sum = 0, total = 0;
  for (int i = 0; i < 4; ++i) {
    const float* x = logits.f32() + 3 * i;
    const double z = std::log(std::exp(x[0]) + std::exp(x[1]) + std::exp(x[2]));
    const int label = batch.targets[0].s32()[i];
    for (int k = 0; k < 3; ++k) sum -= weights[label] * ((k == label ? 1 - s : 0) + s / 3) * (x[k] - z);
    total += weights[label];
  }
  const auto task =
      make_task("classification", 3, {{"label_smoothing", 0.2}, {"class_weights", {1, 2, 0.5}}});
  EXPECT_NEAR(task->loss({logits}, batch).item(), sum / total, 1e-6);
  // The measured loss is the plain one, so that runs can be compared.
  const auto metric = task->metric();
  metric->update({logits}, batch);
  const auto plain = make_task("classification", 3, Json::object());
  EXPECT_NEAR(metric->result().loss, plain->loss({logits}, batch).item(), 1e-6);
}

TEST(ClassificationTest, DecodesTheBestFiveWithNames) {
  const auto task = make_task("classification", 7, Json::object());
  const Tensor logits = Tensor::from(std::vector<float>{0, 0, 0, 0, 0, 0, 0, 1, 7, 3, 6, 5, 4, 2}, {2, 7});
  const Json best = task->describe(task->decode({logits}, 1, {}), {"a", "b", "c", "d", "e", "f", "g"});
  ASSERT_EQ(best.size(), 5u);
  std::string order;
  double sum = 0, all = 0;
  for (const Json& entry : best) {
    order += entry.at("category").get<std::string>();
    sum += entry.at("score").get<double>();
  }
  EXPECT_EQ(order, "bdefc");
  for (int k = 1; k <= 7; ++k) all += std::exp(k);
  EXPECT_NEAR(sum, 1 - (std::exp(1) + std::exp(2)) / all, 1e-9);
  EXPECT_EQ(best[0].at("category_id"), 1);
  EXPECT_EQ(make_task("classification", 2, Json::object())
                ->decode({Tensor::from(std::vector<float>{0, 1}, {1, 2})}, 0, {})
                .classes.size(),
            2u);
}

TEST(ClassificationTest, WhatCannotBeMeasuredIsAnError) {
  const auto task = make_task("classification", 3, Json::object());
  const Tensor logits = test::random_tensor({2, 3});
  const auto complaint = [&](const Tensor& x, const Batch& batch) {
    return message_of([&] { task->metric()->update({x}, batch); });
  };
  expect_says(complaint(logits, batch_of({0, 3})), "folder/1.jpg: its label is 3");
  expect_says(complaint(logits, batch_of({-1, 0})), "folder/0.jpg: its label is -1");
  expect_says(complaint(logits, batch_of({0})), "another number of images");
  expect_says(complaint(Tensor::from(std::vector<float>{0, 0, 0, 0, NAN, 0}, {2, 3}), batch_of({0, 0})),
              "folder/1.jpg: the network's output for class 1 is nan");
  expect_says(message_of([&] { task->metric()->result(); }), "no image was measured");
  expect_says(message_of([&] { task->loss({logits, logits}, batch_of({0, 0})); }), "2 outputs");
}

TEST(ClassificationTest, OptionsAreStrict) {
  const auto complaint = [](const Json& options, int classes = 3) {
    return message_of([&] { make_task("classification", classes, options); });
  };
  EXPECT_EQ(complaint(Json()), "");
  EXPECT_EQ(complaint({{"label_smoothing", 0.1}}), "");
  expect_says(complaint({{"label_smoothin", 0.1}}), "did you mean 'label_smoothing'");
  expect_says(complaint({{"label_smoothing", 1}}), "must lie in [0, 1)");
  expect_says(complaint({{"label_smoothing", "much"}}), "must lie in [0, 1)");
  expect_says(complaint({{"class_weights", {1, 2}}}), "a list of 3 numbers");
  expect_says(complaint({{"class_weights", {1, -2, 1}}}), "cannot be negative");
  expect_says(complaint({{"class_weights", {0, 0, 0}}}), "all 0");
  expect_says(complaint(Json::array()), "an object is needed");
  expect_says(complaint(Json::object(), 0), "classes is 0");
  expect_says(message_of([] { make_task("classificaton", 3, Json::object()); }),
              "did you mean 'classification'");
}

using EvaluateTest = test::SerialTest;

TEST_F(EvaluateTest, MeasuresAllOrTheFirstBatches) {
  const Model model = test::tiny_model();
  Session session(model.graph);
  const auto task = make_task("classification", test::kTinyClasses, Json::object());
  test::TinySource source(3, 5, 4);
  EXPECT_EQ(evaluate(session, *task, source).samples, 15);
  EXPECT_EQ(evaluate(session, *task, source, 2).samples, 10);
  EXPECT_EQ(evaluate(session, *task, source, 99).samples, 15);
  // The same as the eager graph says.
  const auto metric = task->metric();
  Batch batch;
  source.start();
  while (source.next(batch)) metric->update(model.graph.run({batch.images}), batch);
  EXPECT_EQ(evaluate(session, *task, source).value, metric->result().value);
  EXPECT_NEAR(evaluate(session, *task, source).loss, metric->result().loss, 1e-5);
  test::TinySource empty(0, 5, 4);
  expect_says(message_of([&] { evaluate(session, *task, empty); }), "no image was measured");
  request_interrupt();
  EXPECT_THROW(evaluate(session, *task, source), Interrupted);
  request_interrupt(false);
}

}  // namespace
}  // namespace espalier
