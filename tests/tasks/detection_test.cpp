// The detection task: its loss, metric and options. Decoding and precision have tests of their own.

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "ops/autograd.h"
#include "ops/ops.h"
#include "support/messages.h"
#include "support/random_tensor.h"
#include "tasks/task.h"

namespace espalier {
namespace {

using test::expect_says;
using test::message_of;

/// One head of 4 x 4 cells of 8 pixels with one anchor of 8 x 8, two classes.
const Json kSmall = {{"anchors", {{8, 8}}}, {"anchor_masks", {{0}}}, {"strides", {8}}};

Json with(Json options, const Json& more) {
  options.update(more);
  return options;
}

/// A head that sees boxes of 8 x 8 in some cells of a single picture.
struct Seen {
  int column, row, label;
  float logit;
};
Tensor head_of(const std::vector<Seen>& seen) {
  const Tensor head = Tensor::full({1, 4, 4, 7}, -20);
  for (const Seen& s : seen) {
    float* t = head.f32() + (s.row * 4 + s.column) * 7;
    for (int c = 0; c < 4; ++c) t[c] = 0;
    t[4] = s.logit;
    t[5 + s.label] = 20;
  }
  return head;
}

ObjectBox cell(int column, int row, int label) {
  const float x = static_cast<float>(8 * column), y = static_cast<float>(8 * row);
  return {x, y, x + 8, y + 8, label};
}

Batch batch_of(std::vector<ObjectBox> boxes, const std::string& name = "folder/0.jpg") {
  Batch batch;
  batch.names = {name};
  batch.annotations = {{32, 32, std::move(boxes), {}, {}}};
  return batch;
}

TEST(DetectionTest, MeasuresBoxesInThePixelsOfTheFile) {
  const auto task = make_task("detection", 2, kSmall);
  const auto metric = task->metric();
  metric->update({head_of({{1, 2, 0, 3}, {3, 0, 1, 2}})}, batch_of({cell(1, 2, 0), cell(3, 0, 1)}));
  Batch large = batch_of({{16, 32, 32, 48, 0}});
  large.annotations[0].width = large.annotations[0].height = 64;
  large.annotations[0].to_network = {0.5, 0.5, 0, 0};
  metric->update({head_of({{1, 2, 0, 3}})}, large);
  const MetricResult r = metric->result();
  EXPECT_EQ(r.value, 1);
  EXPECT_EQ(r.name, "map");
  EXPECT_EQ(r.samples, 2);
  EXPECT_EQ(r.details->at("counts"), Json::array({2, 1}));
  EXPECT_EQ(r.details->at("detections"), Json::array({2, 1}));
  EXPECT_EQ(r.details->at("curves")[0].at("recall"), Json::array({0.5, 1.0}));
}

TEST(DetectionTest, NoDetectionInAWholeSetIsZero) {
  for (const char* rule : {"voc11", "area", "coco"}) {
    const auto metric = make_task("detection", 2, with(kSmall, {{"map_rule", rule}}))->metric();
    metric->update({head_of({})}, batch_of({cell(1, 2, 0)}));
    metric->update({head_of({})}, batch_of({}));
    const MetricResult r = metric->result();
    EXPECT_EQ(r.value, 0);
    EXPECT_EQ(r.low, 0);
    EXPECT_EQ(r.high, 0);
    EXPECT_TRUE(r.details->at("per_class")[1].is_null()) << "no object, no average";
  }
}

TEST(DetectionTest, TheReferenceForgetsBatchesWithoutDetections) {
  for (const auto& [compat, want] : {std::pair{false, 6.0 / 11}, {true, 1.0}}) {
    const auto metric = make_task("detection", 2, with(kSmall, {{"paddlex_compat", compat}}))->metric();
    metric->update({head_of({{1, 2, 0, 3}})}, batch_of({cell(1, 2, 0)}));
    metric->update({head_of({})}, batch_of({cell(1, 2, 0)}));
    EXPECT_DOUBLE_EQ(metric->result().value, want);
  }
  // And of all batches: there is nothing left, and the value is 0.
  const auto metric = make_task("detection", 2, with(kSmall, {{"paddlex_compat", true}}))->metric();
  metric->update({head_of({})}, batch_of({cell(1, 2, 0)}));
  EXPECT_EQ(metric->result().value, 0);
}

TEST(DetectionTest, LossIsTheSumOverHeads) {
  const auto task = make_task("detection", 2, {});
  const Tensors heads = {test::random_tensor({2, 2, 3, 21}, Device::kCpu, 1),
                         test::random_tensor({2, 4, 6, 21}, Device::kCpu, 2),
                         test::random_tensor({2, 8, 12, 21}, Device::kCpu, 3)};
  Batch batch;
  batch.targets = {
      Tensor::from(std::vector<float>{0.3f, 0.4f, 0.1f, 0.2f, 1, 1, 0.6f, 0.5f, 0.9f, 0.9f, 0, 0.5f,  //
                                      0.2f, 0.7f, 0.3f, 0.3f, 0, 1, 0,    0,    0,    0,    0, 0},
                   {2, 2, 6})};
  const std::vector<std::pair<float, float>> anchors = {{10, 13},  {16, 30},  {33, 23},   {30, 61},  {62, 45},
                                                        {59, 119}, {116, 90}, {156, 198}, {373, 326}};
  float want = 0;
  for (int i = 0; i < 3; ++i)
    want += yolo_loss(heads[i], batch.targets[0],
                      {.anchors = anchors,
                       .mask = {6 - 3 * i, 7 - 3 * i, 8 - 3 * i},
                       .classes = 2,
                       .downsample = 32 >> i})
                .item();
  EXPECT_NEAR(task->loss(heads, batch).item(), want, 1e-4 * want);
  batch.annotations.resize(2, {96, 64, {cell(1, 1, 0)}, {}, {}});
  const auto metric = task->metric();
  metric->update(heads, batch);
  EXPECT_NEAR(metric->result().loss, want, 1e-4 * want);
  // What a GPU gets has more rows, which are no boxes.
  Batch checked = batch;
  checked.targets = task->checked_targets(batch);
  EXPECT_EQ(checked.targets.at(0).shape(), (Shape{2, 16, 6}));
  EXPECT_NEAR(task->loss(heads, checked).item(), want, 1e-6 * want);
  EXPECT_TRUE(task->checked_targets(checked).at(0).same(checked.targets[0])) << "nothing is left to fill";
  batch.targets[0].f32()[6 + 4] = 2;
  expect_says(message_of([&] { task->checked_targets(batch); }),
              "box 1 of image 0 has class 2; it must be one of 0 .. 1");
  batch.targets[0].f32()[6 + 4] = 0;
  // Gradients reach all heads.
  for (const Tensor& head : heads) head.set_requires_grad();
  backward(task->loss(heads, batch));
  for (const Tensor& head : heads) EXPECT_TRUE(head.grad().defined());
}

TEST(DetectionTest, DescribesBoxesAsCocoDoes) {
  const auto task = make_task("detection", 2, kSmall);
  const Prediction prediction = task->decode({head_of({{1, 2, 1, 20}})}, 0, {32, 32, {}, {}, {}});
  const Json list = task->describe(prediction, {"ant", "bee"});
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].at("category"), "bee");
  EXPECT_EQ(list[0].at("bbox"), Json::array({8.0, 16.0, 8.0, 8.0}));
  EXPECT_NEAR(list[0].at("score").get<double>(), 1, 1e-6);
}

TEST(DetectionTest, WhatCannotBeMeasuredIsAnError) {
  const auto task = make_task("detection", 2, kSmall);
  const auto complaint = [&](const Tensor& head, const Batch& batch) {
    return message_of([&] { task->metric()->update({head}, batch); });
  };
  expect_says(complaint(head_of({}), batch_of({cell(0, 0, 2)})), "folder/0.jpg: has an object of class 2");
  Batch none = batch_of({});
  none.annotations.clear();
  expect_says(complaint(head_of({}), none), "0 annotations for 1 images");
  const Tensor broken = head_of({});
  broken.f32()[9] = NAN;
  expect_says(complaint(broken, batch_of({})), "folder/0.jpg: the network's output");
  expect_says(message_of([&] { task->metric()->result(); }), "no image was measured");
  const auto metric = task->metric();
  metric->update({head_of({})}, batch_of({}));
  expect_says(message_of([&] { metric->result(); }), "none of the 1 images has an object");
  expect_says(message_of([&] { task->loss({head_of({})}, Batch()); }), "0 targets");
}

TEST(DetectionTest, OptionsAreStrict) {
  const auto complaint = [](const Json& options) {
    return message_of([&] { make_task("detection", 2, options); });
  };
  EXPECT_EQ(complaint({}), "");
  EXPECT_EQ(complaint(kSmall), "");
  expect_says(complaint({{"nms_treshold", 0.5}}), "did you mean 'nms_threshold'");
  expect_says(complaint({{"nms_threshold", 1.5}}), "nms_threshold is 1.5; it must be a number in 0 .. 1");
  expect_says(complaint({{"keep_top_k", 0}}), "a whole number in 1 .. ");
  expect_says(complaint({{"keep_top_k", 2.5}}), "a whole number in 1 .. ");
  expect_says(complaint({{"map_rule", "voc"}}), "one of voc11, area, coco");
  expect_says(complaint({{"anchors", {{8, 8, 8}}}}), "a list of lists of 2 numbers");
  expect_says(complaint({{"anchors", {{8, -8}}}}), "a width and a height above 0");
  expect_says(complaint({{"anchor_masks", {{0, 9}, {1}, {2}}}}), "names anchor 9; there are anchors 0 .. 8");
  expect_says(complaint({{"anchor_masks", {{0}, {1}}}}), "3 strides and 2 anchor_masks");
  expect_says(complaint({{"anchor_masks", {0, 1}}}), "a list of lists is needed");
  expect_says(complaint({{"strides", {32, 0, 8}}}), "whole numbers in 1 .. 1024");
}

}  // namespace
}  // namespace espalier
