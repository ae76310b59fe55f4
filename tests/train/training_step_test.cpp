// A step of a training on every device: as plain autograd and the optimizer make it, recorded or not.

#include "train/training_step.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/exact_blocks.h"
#include "kernels/optimizer.h"
#include "ops/autograd.h"
#include "ops/ops.h"
#include "passes/prepare_for_training.h"
#include "support/device_test.h"
#include "support/messages.h"
#include "support/passing_task.h"
#include "train/tiny_training.h"

namespace espalier {
namespace {

using test::message_of;

constexpr OptimizerOptions kSgd = {.momentum = 0.9, .weight_decay = 1e-3};

/// The graph that train() moves the parameters of.
Graph trained(const Graph& graph) {
  Graph fused = graph;
  prepare_for_training(fused, fused.device());
  fused.require_gradients();
  return fused;
}

void expect_same(const Graph& a, const Graph& b) {
  EXPECT_TRUE(test::bytes_of(a.to(Device::kCpu)) == test::bytes_of(b.to(Device::kCpu)));
}

std::vector<Batch> batches(int count, int size) {
  test::TinySource source(count, size, 1);
  std::vector<Batch> all(static_cast<size_t>(count));
  source.start();
  for (Batch& batch : all) source.next(batch);
  return all;
}

class TrainingStepTest : public test::DeviceTest {
 protected:
  /// A tiny model and what trains it.
  struct Rig {
    Graph graph, fused;
    std::unique_ptr<Task> task = make_task("classification", test::kTinyClasses, Json::object());
    DistillOptions plain;
    std::unique_ptr<Objective> objective;
    std::unique_ptr<Optimizer> optimizer;
    std::unique_ptr<Ema> ema;
    std::unique_ptr<TrainingStep> step;

    Rig(Device device, double clip, double averaged = 0, const OptimizerOptions& options = kSgd)
        : graph(test::tiny_model().graph.to(device).clone()), fused(trained(graph)) {
      objective = std::make_unique<Objective>(*task, plain, graph, device);
      optimizer = make_optimizer(options, graph);
      if (averaged > 0) ema = std::make_unique<Ema>(graph, averaged);
      step = std::make_unique<TrainingStep>(fused, *task, *objective, *optimizer, ema.get(), clip, device);
    }
    /// The same step in the words of autograd and the optimizer.
    StepResult by_hand(const Batch& batch, double rate, double clip) {
      StepResult came;
      const TrainingMode training;
      const Tensor loss = task->loss(fused.run({batch.images.to(graph.trainable()[0].device())}), batch);
      came.loss = loss.item();
      backward(loss);
      came.gradient_norm = optimizer->gradient_norm();
      optimizer->step(rate, clip > 0 && came.gradient_norm > clip ? clip / came.gradient_norm : 1);
      if (ema) ema->update();
      return came;
    }
    bool recorded(int shapes) const {
      return step->recordings() == (graph.trainable()[0].device() == Device::kCuda ? shapes : 0);
    }
  };
  static void expect_alike(const StepResult& got, const StepResult& want) {
    EXPECT_NEAR(got.loss, want.loss, 1e-6 * want.loss);
    EXPECT_NEAR(got.gradient_norm, want.gradient_norm, 1e-5 * want.gradient_norm);
    EXPECT_TRUE(got.finite);
  }
};

TEST_P(TrainingStepTest, MovesAsTheOptimizerDoesByHand) {
  for (const double clip : {0.0, 0.05}) {
    Rig rig(GetParam(), clip, 0.9), hand(GetParam(), clip, 0.9);
    double rate = 0.1;
    for (const Batch& batch : batches(5, 8)) {
      SCOPED_TRACE(str("clip ", clip, ", rate ", rate));
      expect_alike(rig.step->run(batch, rate), hand.by_hand(batch, rate, clip));
      rate *= 0.7;
    }
    expect_same(rig.graph, hand.graph);
    expect_same(rig.ema->averaged(), hand.ema->averaged());
    // Where nothing is kept for reuse a step allocates, which no recording may.
    EXPECT_TRUE(kernels::exact_blocks() || rig.recorded(1));
  }
}

TEST_P(TrainingStepTest, CountsTheStepsOfAdamW) {
  const OptimizerOptions adamw = {.name = "adamw", .weight_decay = 0.01};
  Rig rig(GetParam(), 0, 0, adamw), hand(GetParam(), 0, 0, adamw);
  for (const Batch& batch : batches(5, 8))
    expect_alike(rig.step->run(batch, 0.01), hand.by_hand(batch, 0.01, 0));
  EXPECT_EQ(rig.optimizer->steps(), 5);
  expect_same(rig.graph, hand.graph);
}

TEST_P(TrainingStepTest, TakesBatchesOfSeveralShapesInTurn) {
  Rig rig(GetParam(), 0), hand(GetParam(), 0);
  const std::vector<Batch> large = batches(4, 8), small = batches(4, 5);
  for (size_t i = 0; i < large.size(); ++i)
    for (const Batch* batch : {&large[i], &small[i]})
      expect_alike(rig.step->run(*batch, 0.05), hand.by_hand(*batch, 0.05, 0));
  expect_same(rig.graph, hand.graph);
  EXPECT_TRUE(kernels::exact_blocks() || rig.recorded(2));
  rig.step->forget();
  EXPECT_EQ(rig.step->recordings(), 0);
}

TEST_P(TrainingStepTest, StagedBatchesAndBytesAreTrainedOnAsOthers) {
  Rig rig(GetParam(), 0), hand(GetParam(), 0);
  std::vector<Batch> bytes = batches(5, 8), floats = bytes;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const std::vector<float> pixels = bytes[i].images.to_vector();
    bytes[i].images = Tensor(bytes[i].images.shape(), Device::kCpu, DType::kU8);
    for (size_t k = 0; k < pixels.size(); ++k)
      bytes[i].images.u8()[k] = static_cast<uint8_t>(std::clamp(pixels[k] * 40 + 128, 0.0f, 255.0f));
    bytes[i].pixel_scale = {{0.02f, 0.03f, 0.01f}, {-2, -3, -1}};
    floats[i].images = network_images(bytes[i], Device::kCpu);
  }
  int calls = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    // As train() does it: the next batch goes ahead, and once one that is not next.
    const StepResult came = rig.step->run(bytes[i], 0.05, [&] {
      ++calls;
      if (i + 1 < bytes.size()) rig.step->stage(bytes[i == 2 ? 0 : i + 1]);
    });
    expect_alike(came, hand.by_hand(floats[i], 0.05, 0));
  }
  EXPECT_EQ(calls, 5);
  expect_same(rig.graph, hand.graph);
}

TEST_P(TrainingStepTest, NothingMovesWithoutAFiniteLoss) {
  Rig rig(GetParam(), 1, 0.9);
  const std::vector<Batch> good = batches(3, 8);
  for (const Batch& batch : good) rig.step->run(batch, 0.1);
  const auto moved = [&] {
    std::string bytes;
    for (const Tensor& w : rig.graph.trainable()) bytes += str(w.to_vector()[0], " ");
    for (const auto& [name, tensor] : rig.optimizer->state()) bytes += str(tensor.to_vector()[0], " ");
    return bytes;
  };
  const std::string before = moved();
  Batch bad = good[0];
  bad.images = bad.images.clone();
  bad.images.f32()[7] = std::numeric_limits<float>::infinity();
  const StepResult came = rig.step->run(bad, 0.1);
  EXPECT_FALSE(came.finite);
  EXPECT_FALSE(std::isfinite(came.loss) && std::isfinite(came.gradient_norm));
  EXPECT_EQ(moved(), before);
  // The gradients of a repeated step can be looked at.
  rig.step->repeat(bad);
  EXPECT_FALSE(first_bad_gradient(rig.fused).empty());
}

TEST_P(TrainingStepTest, LabelsAreLookedAtBeforeAKernelTakesThem) {
  Rig rig(GetParam(), 0);
  std::vector<Batch> all = batches(4, 8);
  for (int i = 0; i < 3; ++i) rig.step->run(all[static_cast<size_t>(i)], 0.1);
  all[3].targets[0].s32()[2] = test::kTinyClasses;
  test::expect_says(message_of([&] { rig.step->run(all[3], 0.1); }),
                    "the label of row 2 is 3; it must lie in 0 .. 2");
}

/// Classification that finds no memory at the end of the forward pass, at the count-th loss from now.
struct MemoryIsShort final : test::PassingTask {
  mutable int count = 0;

  explicit MemoryIsShort(const Task& inner) : PassingTask(inner) {}
  Tensor loss(const Tensors& outputs, const Batch& batch) const override {
    if (count > 0 && --count == 0) throw OutOfMemory("out of memory: 7 bytes were asked for");
    return inner.loss(outputs, batch);
  }
};

TEST_P(TrainingStepTest, AStepThatIsTriedAgainMovesEverythingOnce) {
  Rig rig(GetParam(), 0), hand(GetParam(), 0);
  const MemoryIsShort task(*rig.task);
  const Objective objective(task, rig.plain, rig.graph, GetParam());
  TrainingStep step(rig.fused, task, objective, *rig.optimizer, nullptr, 0, GetParam());
  const Batch large = batches(1, 8)[0], small = batches(1, 5)[0];
  step.run(large, 0.05);
  task.count = 1;
  if (GetParam() == Device::kCpu) {  // which keeps nothing of other shapes that it could let go
    EXPECT_THROW(step.run(small, 0.05), OutOfMemory);
    return;
  }
  const StepResult came = step.run(small, 0.05);
  EXPECT_EQ(task.count, 0);
  hand.by_hand(large, 0.05, 0);
  expect_alike(came, hand.by_hand(small, 0.05, 0));
  expect_same(rig.graph, hand.graph);
}

ESPALIER_TEST_ON_EVERY_DEVICE(TrainingStepTest);

/// What a step takes it gives back, so that recording one after another asks the device for nothing.
TEST(TrainingStepMemory, IsEnoughForTheNextStep) {
  const kernels::Threads one(1);
  const Graph graph = trained(test::tiny_model().graph);
  const auto task = make_task("classification", test::kTinyClasses, Json::object());
  const Batch batch = batches(1, 8)[0];
  const allocator::OwnBlocks blocks(Device::kCpu);
  int64_t calls = 0;
  for (int step = 0; step < 4; ++step) {
    const allocator::OwnBlocks::Scope scope(blocks);
    if (step == 2) calls = allocator::statistics(Device::kCpu).system_calls;
    const TrainingMode training;
    backward(task->loss(graph.run({batch.images}), batch));
    for (const Tensor& w : graph.trainable()) w.clear_grad();
  }
  EXPECT_EQ(allocator::statistics(Device::kCpu).system_calls, calls);
}

}  // namespace
}  // namespace espalier
