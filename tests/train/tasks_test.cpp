// Detection and segmentation through the same loop as classification: drawn squares are found and outlined.

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "nn/layers.h"
#include "runtime/session.h"
#include "support/temporary_directory.h"
#include "tasks/evaluate.h"
#include "train/tiny_training.h"

namespace espalier {
namespace {

constexpr int kSize = 32;

/// Pictures of noise with one bright square, for either task.
class SquareSource final : public BatchSource {
 public:
  SquareSource(std::string task, int batches, uint64_t seed)
      : task_(std::move(task)), batches_(batches), seed_(seed) {}

  void start(int, int64_t first_batch) override { next_ = first_batch; }
  int64_t batches() const override { return batches_; }
  int64_t samples() const override { return int64_t{batches_} * kBatch; }
  uint64_t hash() const override { return seed_; }

  bool next(Batch& batch) override {
    if (next_ == batches_) return false;
    batch = {};
    std::vector<float> pixels, boxes;
    std::vector<int32_t> classes;
    for (int i = 0; i < kBatch; ++i) {
      const int sample = static_cast<int>(next_) * kBatch + i;
      Random random(seed_, Purpose::kTest, 0, static_cast<uint64_t>(sample));
      const int side = 9 + random.below(6), x0 = random.below(kSize - side), y0 = random.below(kSize - side);
      Annotation annotation{kSize, kSize, {}, {kSize, kSize, {}}, {}};
      annotation.boxes = {{1.0f * x0, 1.0f * y0, 1.0f * (x0 + side), 1.0f * (y0 + side), 0}};
      for (int y = 0; y < kSize; ++y)
        for (int x = 0; x < kSize; ++x) {
          const bool inside = x >= x0 && y >= y0 && x < x0 + side && y < y0 + side;
          annotation.mask.classes.push_back(inside);
          classes.push_back(inside);
          for (int c = 0; c < 3; ++c) pixels.push_back(static_cast<float>(inside + 0.3 * random.normal()));
        }
      for (const double v : {x0 + side / 2.0, y0 + side / 2.0, side * 1.0, side * 1.0})
        boxes.push_back(static_cast<float>(v / kSize));
      boxes.insert(boxes.end(), {0, 1});
      batch.annotations.push_back(std::move(annotation));
      batch.names.push_back(str("picture ", sample));
      batch.samples.push_back(sample);
    }
    batch.images = Tensor::from(pixels, {kBatch, kSize, kSize, 3});
    batch.targets = {task_ == "detection" ? Tensor::from(boxes, {kBatch, 1, 6})
                                          : Tensor::from(classes, {kBatch, kSize, kSize})};
    ++next_;
    return true;
  }

 private:
  static constexpr int kBatch = 8;
  std::string task_;
  int batches_;
  uint64_t seed_;
  int64_t next_ = 0;
};

/// `channels` per cell of `stride` pixels.
Model square_model(const std::string& task, int stride, int channels, const Json& options) {
  Model model;
  model.task = task;
  model.labels = task == "detection" ? std::vector<std::string>{"square"}
                                     : std::vector<std::string>{"background", "square"};
  model.task_options = options;
  model.architecture = model.preprocessing = model.metrics = Json::object();
  model.lineage = Json::array();
  model.graph = build_graph(
      [=](Scope s, const Tensor& x) -> Tensors {
        Tensor y = x;
        for (int step = 1; step < stride; step *= 2)
          y = conv_bn(s / str("down", step), y, 16, {.kernel = 3, .stride = 2, .act = Activation::relu()});
        y = conv_bn(s / "wide", y, 24, {.kernel = 5, .act = Activation::relu()});
        const Tensor w = (s / "head").param("w", {channels, 3, 3, 24}, he_normal);
        const Tensor bias = (s / "head").param("bias", {channels}, zeros);
        return {conv2d(y, w, {.pad = {1, 1, 1, 1}, .bias = bias})};
      },
      kSize, kSize, 3, 1);
  return model;
}

MetricResult trained(Model model, double rate) {
  const auto task = make_task(model.task, static_cast<int>(model.labels.size()), model.task_options);
  SquareSource data(model.task, 12, 1), eval(model.task, 3, 2);
  TrainOptions o = test::tiny_options({}, 6);
  o.schedule.rate = rate;
  o.ema = 0;
  o.clip = 10;
  double first = 0, last = 0;
  train(model, *task, data, eval, o, {.on_step = [&](const StepReport& s) {
          if (s.step == 0) first = s.loss;
          last = s.loss;
        }});
  EXPECT_LT(last, 0.5 * first);
  // As it will run.
  Session session(model.graph);
  const MetricResult measured = evaluate(session, *task, eval);
  EXPECT_LE(measured.low, measured.value);
  EXPECT_GE(measured.high, measured.value);
  EXPECT_EQ(measured.samples, 24);
  return measured;
}

using TasksTest = test::SerialTest;

TEST_F(TasksTest, ADetectorLearnsToFindSquares) {
  const Json options = {{"anchors", {{12, 12}}}, {"anchor_masks", {{0}}}, {"strides", {8}}};
  EXPECT_GT(trained(square_model("detection", 8, 6, options), 0.02).value, 0.8);
}

TEST_F(TasksTest, ASegmenterLearnsToOutlineSquares) {
  EXPECT_GT(trained(square_model("segmentation", 1, 2, {}), 0.05).value, 0.8);
  EXPECT_GT(trained(square_model("segmentation", 1, 2, {{"class_weights", "dynamic"}}), 0.05).value, 0.8);
  EXPECT_GT(trained(square_model("segmentation", 1, 1, {{"losses", {"dice", "bce"}}}), 0.05).value, 0.8);
}

}  // namespace
}  // namespace espalier
