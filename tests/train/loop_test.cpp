#include "train/loop.h"
#include "train/checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/error.h"
#include "ops/autograd.h"
#include "runtime/session.h"
#include "support/expect_close.h"
#include "support/messages.h"
#include "support/passing_task.h"
#include "support/temporary_directory.h"
#include "tasks/evaluate.h"
#include "train/divergence.h"
#include "train/tiny_training.h"

namespace espalier {
namespace {

using test::expect_says;
using test::message_of;

using test::run_tiny;
using test::tiny_options;
using test::TinySource;

using TrainTest = test::SerialTest;

TEST_F(TrainTest, ATinyModelLearnsItsTask) {
  TrainOptions o = tiny_options({}, 6);
  o.ema = 0;
  int steps = 0, epochs = 0;
  double first = 0, last = 0;
  test::TinyRun run{test::tiny_model(), {}};
  TinySource data(6, 8, 1), eval(2, 16, 2);
  const auto task = make_task("classification", test::kTinyClasses, Json::object());
  run.result = train(run.model, *task, data, eval, o,
                     {.on_step =
                          [&](const StepReport& s) {
                            EXPECT_EQ(s.step, steps);
                            EXPECT_EQ(s.epoch, steps / 6);
                            EXPECT_EQ(s.steps, 36);
                            EXPECT_GT(s.gradient_norm, 0);
                            EXPECT_GE(s.loader_wait, 0);
                            EXPECT_LE(s.loader_wait, 1);
                            if (steps++ == 0) first = s.loss;
                            last = s.mean_loss;
                          },
                      .on_epoch = [&](const EpochReport& e) { EXPECT_EQ(e.epoch, epochs++); }});
  EXPECT_EQ(steps, 36);
  EXPECT_EQ(epochs, 6);
  EXPECT_LT(last, 0.5 * first);
  EXPECT_GE(run.result.last.value, 0.8);
  EXPECT_EQ(run.result.last.samples, 32);
  EXPECT_EQ(run.result.steps, 36);
  EXPECT_FALSE(run.result.resumed);
  EXPECT_GT(run.result.images_per_second, 0);
  EXPECT_GT(run.result.peak_bytes, 0);
  // What was measured last is what the model has now.
  Session session(run.model.graph);
  EXPECT_EQ(evaluate(session, *task, eval).value, run.result.last.value);
  for (const Tensor& p : run.model.graph.trainable()) EXPECT_FALSE(p.requires_grad());
}

TEST_F(TrainTest, AnEpochIsForwardLossBackwardAndStep) {
  // The same by hand: the graph as it was traced, plain loops for clipping, momentum and decay.
  const Model model = test::tiny_model();
  model.graph.require_gradients();
  TinySource data(6, 8, 1), eval(2, 16, 2);
  const auto task = make_task("classification", test::kTinyClasses, Json::object());
  const std::vector<Tensor> parameters = model.graph.trainable();
  std::vector<std::vector<double>> velocity(parameters.size());
  data.start(0);
  Batch batch;
  for (int step = 0; data.next(batch); ++step) {
    const TrainingMode training;
    backward(task->loss(model.graph.run({batch.images}), batch));
    double square = 0;
    for (const Tensor& p : parameters)
      for (float g : p.grad().to_vector()) square += double{g} * g;
    const double scale = std::min(1.0, 0.7 / std::sqrt(square)), rate = step < 4 ? 0.05 : 0.005;
    for (size_t i = 0; i < parameters.size(); ++i) {
      std::vector<float> w = parameters[i].to_vector();
      const std::vector<float> g = parameters[i].grad().to_vector();
      velocity[i].resize(w.size());
      for (size_t k = 0; k < w.size(); ++k) {
        velocity[i][k] = 0.9 * velocity[i][k] + (scale * g[k] + 0.01 * w[k]);
        w[k] = static_cast<float>(w[k] - rate * velocity[i][k]);
      }
      parameters[i].set(w);
      parameters[i].clear_grad();
    }
  }
  TrainOptions o = tiny_options({}, 1);
  o.ema = 0;
  o.clip = 0.7;
  o.optimizer.weight_decay = 0.01;
  o.schedule = {.name = "piecewise", .rate = 0.05, .at = {4}, .at_unit = TimeUnit::kSteps, .gamma = 0.1};
  const test::TinyRun run = run_tiny(o, 0);
  for (size_t v = 0; v < model.graph.values.size(); ++v) {
    const Graph::Value& want = model.graph.values[v];
    if (!want.param.defined()) continue;
    // Six steps of rounding, in other orders.
    EXPECT_TRUE(test::expect_close(run.model.graph.values[v].param, want.param, {1e-4, 0.1})) << want.name;
  }
}

TEST_F(TrainTest, SameSeedSameBits) {
  EXPECT_EQ(test::bytes_of(run_tiny(tiny_options()).model.graph),
            test::bytes_of(run_tiny(tiny_options()).model.graph));
  TrainOptions other = tiny_options();
  other.seed = 2;  // draws other dropout masks
  EXPECT_NE(test::bytes_of(run_tiny(tiny_options()).model.graph),
            test::bytes_of(run_tiny(other).model.graph));
}

TEST_F(TrainTest, AveragedWeightsAreWhatIsKept) {
  TrainOptions o = tiny_options();
  const std::string averaged = test::bytes_of(run_tiny(o).model.graph);
  o.ema = 0;
  EXPECT_NE(averaged, test::bytes_of(run_tiny(o).model.graph));
}

TEST_F(TrainTest, KeepsTheBestOrTheLast) {
  TrainOptions o = tiny_options({}, 7);
  o.ema = 0;
  o.schedule = {.name = "constant", .rate = 0.5};  // too high: it goes up and down
  const test::TinyRun last = run_tiny(o);
  o.keep = KeptModel::kBest;
  const test::TinyRun best = run_tiny(o);
  ASSERT_LT(best.result.best_epoch, 6) << "the last epoch was the best; this test needs another seed";
  double largest = -1;
  int at = -1;
  for (const EpochReport& e : best.result.epochs)
    if (e.metric->value > largest) {
      largest = e.metric->value;
      at = e.epoch;
    }
  EXPECT_EQ(best.result.best_epoch, at);
  EXPECT_EQ(best.result.best.value, largest);
  EXPECT_NE(test::bytes_of(best.model.graph), test::bytes_of(last.model.graph));
  const auto task = make_task("classification", test::kTinyClasses, Json::object());
  TinySource eval(2, 16, 2);
  eval.same_every_epoch = true;
  Session session(best.model.graph);
  EXPECT_EQ(evaluate(session, *task, eval).value, largest);
}

TEST_F(TrainTest, EvaluatesEveryFewEpochsAndAfterTheLast) {
  TrainOptions o = tiny_options({}, 5);
  o.evaluate_every = 2;
  std::string evaluated;
  for (const EpochReport& e : run_tiny(o).result.epochs) evaluated += e.metric ? '1' : '0';
  EXPECT_EQ(evaluated, "01011");
}

TEST_F(TrainTest, StopsEarlyAndSaysSo) {
  TrainOptions o = tiny_options({}, 50);
  o.early_stop.patience = 2;
  o.schedule = {.name = "constant", .rate = 1e-7};  // learns nothing
  o.ema = 0;
  const TrainResult result = run_tiny(o).result;
  EXPECT_TRUE(result.stopped_early);
  EXPECT_EQ(result.epochs.size(), static_cast<size_t>(result.best_epoch) + 3);
}

TEST_F(TrainTest, NanLossNamesStepRateAndLayerAndKeepsTheBest) {
  const test::TemporaryDirectory folder;
  TrainOptions o = tiny_options(folder.path(), 4);
  test::TinyRun run{test::tiny_model(), {}};
  TinySource data(6, 8, 1), eval(2, 16, 2);
  data.before = [&](int epoch, int64_t batch) { data.scale = epoch == 2 && batch == 3 ? 1e30f : 1; };
  const auto task = make_task("classification", test::kTinyClasses, Json::object());
  const std::string message = message_of([&] { train(run.model, *task, data, eval, o); });
  expect_says(message, "step 15 (epoch 3, step 4 of 6)");
  expect_says(message, "learning rate 0.0");
  expect_says(message, "first in stem");
  expect_says(message, kBestFile);
  const Model best = load_model(folder.path() / kBestFile);
  const Json& metric = best.metrics.at("training").at("best");
  EXPECT_GT(metric.at("value").get<double>(), 0);
  expect_says(message, str("epoch ", metric.at("epoch").get<int>()));
}

TEST_F(TrainTest, PicturesThatAreNotFiniteAreNamedAsTheCause) {
  Model model = test::tiny_model();
  TinySource data(6, 8, 1), eval(2, 16, 2);
  data.scale = NAN;
  const auto task = make_task("classification", test::kTinyClasses, Json::object());
  expect_says(message_of([&] { train(model, *task, data, eval, tiny_options()); }),
              "first in the input itself");
}

/// Adds 0 to the logits in a way whose gradient overflows.
struct OverflowingTask final : test::PassingTask {
  using PassingTask::PassingTask;
  Tensor loss(const Tensors& outputs, const Batch& batch) const override {
    Tensor x = outputs[0];
    for (const float factor : {1e-30f, 1e-30f, 1e30f, 1e30f}) {
      std::vector<float> w(test::kTinyClasses * test::kTinyClasses, 0);
      for (int k = 0; k < test::kTinyClasses; ++k) w[k * test::kTinyClasses + k] = factor;
      x = linear(x, Tensor::from(w, {test::kTinyClasses, test::kTinyClasses}));
    }
    return inner.loss({add(outputs[0], x)}, batch);
  }
};

TEST_F(TrainTest, AGradientThatIsNotFiniteStopsBeforeTheWeightsTakeIt) {
  Model model = test::tiny_model();
  TinySource data(6, 8, 1), eval(2, 16, 2);
  const auto classification = make_task("classification", test::kTinyClasses, Json::object());
  const OverflowingTask task(*classification);
  const std::string message = message_of([&] { train(model, task, data, eval, tiny_options()); });
  expect_says(message, "step 0 (epoch 1, step 1 of 6): the norm of the gradients is");
  expect_says(message, "first in classifier");
  check_finite_parameters(model.graph);
}

TEST_F(TrainTest, DamagedWeightsAreRefusedBeforeTraining) {
  Model model = test::tiny_model();
  const Tensor w = model.graph.values[model.graph.find("project/w")].param;
  std::vector<float> values = w.to_vector();
  values[5] = INFINITY;
  w.set(values);
  TinySource data(6, 8, 1), eval(2, 16, 2);
  const auto task = make_task("classification", test::kTinyClasses, Json::object());
  expect_says(message_of([&] { train(model, *task, data, eval, tiny_options()); }),
              "parameter project/w holds inf before training");
}

TEST_F(TrainTest, ImpossibleOptionsAreErrors) {
  const auto complaint = [](const auto& change) {
    TrainOptions o = tiny_options();
    change(o);
    return message_of([&] { run_tiny(o); });
  };
  expect_says(complaint([](auto& o) { o.epochs = 0; }), "at least 1");
  expect_says(complaint([](auto& o) { o.ema = 1; }), "ema is 1");
  expect_says(complaint([](auto& o) { o.clip = -1; }), "clip is -1");
  expect_says(complaint([](auto& o) { o.evaluate_every = 0; }), "evaluate_every is 0");
  expect_says(complaint([](auto& o) { o.early_stop.patience = -1; }), "patience -1");
}

TEST_F(TrainTest, ADataSetSmallerThanABatchIsAnError) {
  Model model = test::tiny_model();
  TinySource data(0, 8, 1), eval(2, 16, 2);
  const auto task = make_task("classification", test::kTinyClasses, Json::object());
  expect_says(message_of([&] { train(model, *task, data, eval, tiny_options()); }), "fills no batch");
}

TEST_F(TrainTest, WritesATableOfItsEpochs) {
  const test::TemporaryDirectory folder;
  run_tiny(tiny_options(folder.path(), 2));
  std::ifstream in(folder.path() / "epochs.csv");
  std::string header, first, second, end;
  std::getline(in, header);
  std::getline(in, first);
  std::getline(in, second);
  EXPECT_EQ(header, "epoch,steps,loss,rate,top1,low,high,eval_loss,images_per_second,loader_wait");
  EXPECT_TRUE(first.starts_with("1,6,")) << first;
  EXPECT_TRUE(second.starts_with("2,12,")) << second;
  EXPECT_FALSE(std::getline(in, end));
}

TEST(CheckpointTest, IsWrittenWhereItCostsLittleOrMuchWouldBeLost) {
  EXPECT_TRUE(worth_a_checkpoint(0.1, 0)) << "there is none yet";
  EXPECT_TRUE(worth_a_checkpoint(0.1, 0.01));
  EXPECT_FALSE(worth_a_checkpoint(0.2, 0.8)) << "four times the epoch's own time";
  EXPECT_FALSE(worth_a_checkpoint(15.9, 0.8));
  EXPECT_TRUE(worth_a_checkpoint(16.1, 0.8));
}

}  // namespace
}  // namespace espalier
