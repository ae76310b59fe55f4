// Training that also learns from another network.

#include "train/distill.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "ops/autograd.h"
#include "ops/ops.h"
#include "runtime/session.h"
#include "support/messages.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"
#include "tasks/evaluate.h"
#include "train/tiny_training.h"

namespace espalier {
namespace {

using test::expect_says;
using test::kTinyClasses;
using test::message_of;
using test::run_tiny;
using test::tiny_options;
using test::TinySource;

struct DistillTest : test::SerialTest {
  std::shared_ptr<const Graph> teacher =
      std::make_shared<Graph>(run_tiny(tiny_options({}, 6), 0).model.graph);
  std::unique_ptr<Task> task = make_task("classification", kTinyClasses, Json::object());

  TrainOptions taught(const std::filesystem::path& folder = {}, int epochs = 3) const {
    TrainOptions o = tiny_options(folder, epochs);
    o.distill = {
        .teacher = teacher, .name = "teacher.safetensors", .hash = "abc", .weight = 0.3, .temperature = 2};
    return o;
  }
};

TEST_F(DistillTest, MixesTheTasksLossAndTheDistance) {
  Model student = test::tiny_model(5);
  TinySource data(2, 8, 1), eval(1, 8, 2);
  Batch batch;
  data.start();
  data.next(batch);
  double want = 0;
  {
    const NoGrad plain;
    const TrainingMode training;
    const Tensors outputs = student.graph.clone().run({batch.images});
    Session says(*teacher);
    want = 0.7 * task->loss(outputs, batch).item() +
           0.3 * distillation_loss(outputs[0], says.run({batch.images})[0], batch.targets[0], 2).item();
  }
  std::vector<double> losses;
  train(student, *task, data, eval, taught({}, 1),
        {.on_step = [&](const StepReport& s) { losses.push_back(s.loss); }});
  EXPECT_NEAR(losses.at(0), want, 1e-5 * want);
}

TEST_F(DistillTest, GradientsAreMixedAsTheLossesAre) {
  const Tensor x = test::random_tensor({4, 3}, Device::kCpu, 1),
               t = test::random_tensor({4, 3}, Device::kCpu, 2);
  const Tensor labels = Tensor::from(std::vector<int32_t>{0, 2, 1, 1}, {4});
  x.set_requires_grad();
  const auto gradient = [&](const LossMix& mix) {
    x.clear_grad();
    mix.backward();
    return x.grad().to_vector();
  };
  const Tensor task_loss = softmax_cross_entropy(x, labels, {}),
               distance = distillation_loss(x, t, labels, 2);
  const LossMix mix{{task_loss, distance}, {0.25, 0.75}};
  const std::vector<float> both = gradient(mix),
                           one = gradient({{softmax_cross_entropy(x, labels, {})}, {1}}),
                           other = gradient({{distillation_loss(x, t, labels, 2)}, {1}});
  for (size_t i = 0; i < both.size(); ++i) EXPECT_NEAR(both[i], 0.25f * one[i] + 0.75f * other[i], 1e-6f);
}

/// The pictures with labels that say nothing.
struct Unlabelled final : BatchSource {
  TinySource source{6, 8, 1};
  void start(int epoch, int64_t first) override { source.start(epoch, first); }
  bool next(Batch& batch) override {
    if (!source.next(batch)) return false;
    for (int64_t i = 0; i < batch.targets[0].elements(); ++i) batch.targets[0].s32()[i] = 0;
    return true;
  }
  int64_t batches() const override { return source.batches(); }
  int64_t samples() const override { return source.samples(); }
  uint64_t hash() const override { return source.hash(); }
};

TEST_F(DistillTest, ATeacherAloneIsEnough) {
  Model student = test::tiny_model(5);
  Unlabelled data;
  TinySource eval(2, 16, 2);
  eval.same_every_epoch = true;
  TrainOptions o = taught({}, 6);
  o.distill.weight = 1;
  o.ema = 0;
  train(student, *task, data, eval, o);
  Session after(student.graph), says(*teacher);
  EXPECT_GE(evaluate(says, *task, eval).value, 0.8);
  EXPECT_GE(evaluate(after, *task, eval).value, 0.8);
}

TEST_F(DistillTest, TheTeacherStaysAsItIs) {
  const std::string before = test::bytes_of(*teacher);
  run_tiny(taught());
  EXPECT_EQ(test::bytes_of(*teacher), before);
  EXPECT_NE(test::bytes_of(run_tiny(taught()).model.graph),
            test::bytes_of(run_tiny(tiny_options()).model.graph));
}

TEST_F(DistillTest, ResumesWithTheSameBitsAndTheSameTeacherOnly) {
  const std::string want = test::bytes_of(run_tiny(taught()).model.graph);
  const test::TemporaryDirectory folder;
  const auto stop = [](int epoch, int64_t batch) { ESPALIER_CHECK(epoch < 1 || batch < 3, "stopped"); };
  EXPECT_THROW(run_tiny(taught(folder.path()), 0.25f, stop), Error);
  TrainOptions other = taught(folder.path());
  other.distill.hash = "def";
  expect_says(message_of([&] { run_tiny(other); }), {"teacher"});
  expect_says(message_of([&] { run_tiny(tiny_options(folder.path())); }), {"teacher"});
  EXPECT_EQ(test::bytes_of(run_tiny(taught(folder.path())).model.graph), want);
}

TEST_F(DistillTest, WhatCannotTeachIsAnError) {
  TrainOptions o = taught();
  o.distill.weight = 0;
  expect_says(message_of([&] { run_tiny(o); }), {"distillation: weight is 0"});
  o = taught();
  o.distill.temperature = -1;
  expect_says(message_of([&] { run_tiny(o); }), {"distillation: temperature is -1"});
  o = taught();
  Graph wider = *teacher;
  wider.values[wider.outputs[0]].meta.shape = {1, kTinyClasses + 1};
  o.distill.teacher = std::make_shared<Graph>(wider);
  expect_says(message_of([&] { run_tiny(o); }), {"the outputs of the teacher teacher.safetensors are [1,4]"});
}

}  // namespace
}  // namespace espalier
