// Training on every device: like the CPU's, repeatable, resumable, and honest about memory.

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "kernels/autotuner.h"
#include "kernels/precision.h"
#include "ops/ops.h"
#include "support/device_test.h"
#include "support/messages.h"
#include "support/passing_task.h"
#include "support/temporary_directory.h"
#include "train/checkpoint.h"
#include "train/fitting_batch.h"
#include "train/tiny_training.h"

namespace espalier {
namespace {

using test::expect_says;
using test::message_of;
using test::run_tiny;
using test::tiny_options;

class DeviceTraining : public test::DeviceTest {
 protected:
  TrainOptions options(const std::filesystem::path& folder = {}) const {
    TrainOptions o = tiny_options(folder, 3);
    o.device = GetParam();
    o.checkpoint_steps = 2;
    return o;
  }
};

std::vector<double> losses_on(Device device) {
  TrainOptions o = tiny_options({}, 2);
  o.device = device;
  std::vector<double> losses;
  test::TinyRun run{test::tiny_model(), {}};
  test::TinySource data(6, 8, 1), eval(1, 8, 2);
  const auto task = make_task("classification", test::kTinyClasses, Json::object());
  train(run.model, *task, data, eval, o, {.on_step = [&](const StepReport& s) { losses.push_back(s.loss); }});
  return losses;
}

TEST_P(DeviceTraining, LosesAsOnTheCpu) {
  const std::vector<double> want = losses_on(Device::kCpu), got = losses_on(GetParam());
  ASSERT_EQ(got.size(), want.size());
  ASSERT_GE(got.size(), 10u);
  for (size_t i = 0; i < 10; ++i) EXPECT_LE(std::abs(got[i] - want[i]), 1e-4 * want[i]) << "step " << i;
}

TEST_P(DeviceTraining, LosesAsInFp32WithRoundedOperands) {
  const std::vector<double> want = losses_on(Device::kCpu);
  for (const auto& [precision, tolerance] :
       {std::pair(kernels::Precision::kTf32, 1e-2), std::pair(kernels::Precision::kBf16, 5e-2)}) {
    kernels::set_precision(precision);
    const std::vector<double> got = losses_on(GetParam());
    kernels::set_precision(kernels::Precision::kFp32);
    for (size_t i = 0; i < 10; ++i)
      EXPECT_LE(std::abs(got.at(i) - want.at(i)), tolerance * want.at(i)) << "step " << i;
  }
}

TEST_P(DeviceTraining, RepeatsItsBits) {
  EXPECT_EQ(test::bytes_of(run_tiny(options()).model.graph), test::bytes_of(run_tiny(options()).model.graph));
}

TEST_P(DeviceTraining, ResumesWithTheSameBits) {
  const std::string want = test::bytes_of(run_tiny(options()).model.graph);
  const test::TemporaryDirectory folder;
  const auto stopped = [](int epoch, int64_t batch) { ESPALIER_CHECK(epoch < 1 || batch < 3, "stopped"); };
  EXPECT_THROW(run_tiny(options(folder.path()), 0.25f, stopped), Error);
  const test::TinyRun run = run_tiny(options(folder.path()));
  EXPECT_TRUE(run.result.resumed);
  EXPECT_EQ(test::bytes_of(run.model.graph), want);
}

/// Classification on a device with memory for two pictures from some batch on.
struct SmallMemory final : test::PassingTask {
  mutable int left;  ///< losses until memory is short
  int fits;

  SmallMemory(const Task& inner, int left, int fits) : PassingTask(inner), left(left), fits(fits) {}
  Tensor loss(const Tensors& outputs, const Batch& batch) const override {
    EXPECT_EQ(kernels::Untimed::on(), batch.size() < 8) << "no kernel is timed for sizes that are only tried";
    if (left-- <= 0 && batch.size() > fits) throw OutOfMemory("out of memory: 7 bytes were asked for");
    return inner.loss(outputs, batch);
  }
};

TEST_P(DeviceTraining, OutOfMemorySaysWhatFitsAndKeepsTheCheckpoint) {
  const test::TemporaryDirectory folder;
  const auto stop_with = [&](int left, int fits) {
    test::TinyRun run{test::tiny_model(), {}};
    test::TinySource data(6, 8, 1), eval(1, 8, 2);
    const auto classification = make_task("classification", test::kTinyClasses, Json::object());
    const SmallMemory task(*classification, left, fits);
    TrainOptions o = options(folder.path());
    if (GetParam() != Device::kCpu) o.checkpoint_steps = 1;
    return message_of([&] { train(run.model, task, data, eval, o); });
  };
  // A GPU asks for a loss in the first step and where it records the second; what is replayed takes no
  // memory.
  const int last = GetParam() == Device::kCpu ? 5 : 1;
  const std::string message = stop_with(last, 3);
  expect_says(message, str("training stopped at step ", last, " (epoch 1, step ", last + 1,
                           " of 6) with batches of 8: out of memory"));
  expect_says(message, "; a batch of 2 fits; ");
  expect_says(message, kCheckpointFile);
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_EQ(load_checkpoint(folder.path() / kCheckpointFile).progress.at("step"), last == 5 ? 4 : 1);
  expect_says(stop_with(0, 0), "; not even a batch of 1 fits");
}

/// Classification whose evaluations find no memory for a while.
struct SmallMemoryToEvaluate final : test::PassingTask {
  mutable int failures;

  SmallMemoryToEvaluate(const Task& inner, int failures) : PassingTask(inner), failures(failures) {}
  std::unique_ptr<Metric> metric() const override {
    if (failures-- > 0) throw OutOfMemory("out of memory: 7 bytes were asked for");
    return inner.metric();
  }
};

TEST_P(DeviceTraining, AnEvaluationWithoutMemoryIsTriedAgainAndLosesNoSteps) {
  const auto classification = make_task("classification", test::kTinyClasses, Json::object());
  const auto run_with = [&](int failures, const std::filesystem::path& folder) {
    test::TinyRun run{test::tiny_model(), {}};
    test::TinySource data(6, 8, 1), eval(1, 8, 2);
    const SmallMemoryToEvaluate task(*classification, failures);
    run.result = train(run.model, task, data, eval, options(folder));
    return run;
  };
  const std::string want = test::bytes_of(run_with(0, {}).model.graph);
  EXPECT_EQ(test::bytes_of(run_with(1, {}).model.graph), want);
  const test::TemporaryDirectory folder;
  const std::string message = message_of([&] { run_with(2, folder.path()); });
  expect_says(message, "out of memory: 7 bytes");
  expect_says(message, str(kCheckpointFile, " holds the epoch's steps"));
  EXPECT_EQ(load_checkpoint(folder.path() / kCheckpointFile).progress.at("step_in_epoch"), 6);
  const test::TinyRun resumed = run_with(0, folder.path());
  EXPECT_TRUE(resumed.result.resumed);
  EXPECT_EQ(test::bytes_of(resumed.model.graph), want);
}

TEST(FirstOf, TakesWhatBelongsToThePictures) {
  test::TinySource data(1, 4, 1);
  data.start();
  Batch batch;
  ASSERT_TRUE(data.next(batch));
  batch.names = {"a", "b", "c", "d"};
  const Batch two = first_of(batch, 2);
  EXPECT_EQ(two.size(), 2);
  EXPECT_EQ(two.names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(two.targets[0].to_vector()[1], batch.targets[0].to_vector()[1]);
  EXPECT_EQ(two.images.to_vector().back(), batch.images.to_vector()[two.images.elements() - 1]);
}

ESPALIER_TEST_ON_EVERY_DEVICE(DeviceTraining);

}  // namespace
}  // namespace espalier
