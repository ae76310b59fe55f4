#include "compress/prune.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "compress/criterion.h"
#include "compress/toy.h"
#include "passes/remove_channels.h"
#include "support/expect_close.h"
#include "support/temporary_directory.h"
#include "tasks/evaluate.h"

namespace espalier {
namespace {

TEST(Prune, TakesTheChannelsThatTheSweepMeasured) {
  const Graph graph = test::small_concat_network();
  test::ToySource source(graph, 40, 16);
  const auto task = make_task("classification", 6, Json::object());
  test::TemporaryDirectory folder;
  const Sensitivity measured =
      measure_sensitivity(graph, *task, source, folder.path() / "s.json", {.ratios = {0.25, 0.5, 0.75}});
  for (const GroupSensitivity& g : measured.groups)
    for (const SensitivityPoint& point : g.points) {
      SCOPED_TRACE(str(g.name, " ", point.ratio));
      PruningPlan plan{.criterion = measured.criterion};
      for (const GroupSensitivity& other : measured.groups)
        plan.groups.push_back({.name = other.name,
                               .before = other.channels,
                               .kept = other.channels - (other.name == g.name ? point.removed : 0)});
      Session session(prune(graph, plan));
      EXPECT_EQ(evaluate(session, *task, source).value, point.metric);
    }
}

TEST(Prune, LeavesTheGivenGraphAlone) {
  const Graph graph = test::small_concat_network();
  const uint64_t before = graph.hash();
  PruningPlan plan{.criterion = "l1"};
  for (const ChannelGroup& g : channel_groups(graph))
    plan.groups.push_back({.name = g.name, .before = g.channels, .kept = g.channels / 2});
  const Graph pruned = prune(graph, plan);
  EXPECT_EQ(graph.hash(), before);
  for (size_t v = 0; v < graph.values.size(); ++v)
    if (graph.is_parameter(static_cast<int>(v))) {
      EXPECT_FALSE(pruned.values[v].param.same(graph.values[v].param));
    }
}

/// Mean and unbiased variance per channel of what the first norm of a one-convolution network sees.
struct Statistics {
  std::vector<float> mean, variance;
};

Statistics statistics_of(const Tensor& x) {
  const int channels = x.channels();
  const int64_t rows = x.elements() / channels;
  Statistics s;
  for (int c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    for (int64_t r = 0; r < rows; ++r) sum += x.f32()[r * channels + c];
    const double mean = sum / static_cast<double>(rows);
    for (int64_t r = 0; r < rows; ++r) squares += std::pow(x.f32()[r * channels + c] - mean, 2);
    s.mean.push_back(static_cast<float>(mean));
    s.variance.push_back(static_cast<float>(squares / static_cast<double>(rows - 1)));
  }
  return s;
}

Graph conv_norm_dropout() {
  Graph graph = build_graph(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor y = norm(s / "norm", dropout(conv2d(x, s.param("w", {4, 1, 1, 3}, he_normal)), 0.5f));
        return {fully_connected(s / "classifier", global_avg_pool(relu(y)), 3)};
      },
      6, 5, 3, 1);
  test::randomise(graph, 2);
  return graph;
}

TEST(RecalibrateBatchNorms, MeansOfTheBatchesStatistics) {
  Graph graph = conv_norm_dropout();
  const Graph before = graph;
  test::ToySource source(graph, 24, 8);
  EXPECT_EQ(recalibrate_batch_norms(graph, source, 2), 2);
  std::vector<double> mean(4, 0), variance(4, 0);
  Batch batch;
  source.start(0, 0);
  for (int b = 0; b < 2; ++b) {
    ASSERT_TRUE(source.next(batch));
    // Dropout stays out of it: the statistics are of what inference will see.
    const Statistics s = statistics_of(graph.slice(0, 1).run({batch.images})[0]);
    for (int c = 0; c < 4; ++c) {
      mean[c] += s.mean[c] / 2;
      variance[c] += s.variance[c] / 2;
    }
  }
  const auto values = [](const Graph& g, const char* name) {
    return g.values[g.find(name)].param.to_vector();
  };
  EXPECT_TRUE(test::expect_close(values(graph, "norm/mean"), mean, {1e-5, 0.1}));
  EXPECT_TRUE(test::expect_close(values(graph, "norm/variance"), variance, {1e-5, 0.1}));
  for (const char* name : {"w", "norm/scale", "norm/shift", "classifier/w"})
    EXPECT_TRUE(graph.values[graph.find(name)].param.same(before.values[before.find(name)].param)) << name;
  for (const char* name : {"norm/mean", "norm/variance"})
    EXPECT_FALSE(graph.values[graph.find(name)].param.same(before.values[before.find(name)].param)) << name;
  EXPECT_EQ(graph.items.size(), before.items.size());
  EXPECT_EQ(graph_to_json(graph), graph_to_json(before)) << "momentum and dropout are as they were";
}

TEST(RecalibrateBatchNorms, RepeatsBitForBitAndTakesWhatIsThere) {
  Graph a = test::small_mobilenet(), b = a.clone();
  test::ToySource source(a, 24, 16);
  EXPECT_EQ(recalibrate_batch_norms(a, source, 10), 2);
  recalibrate_batch_norms(b, source, 10);
  EXPECT_EQ(a.hash(), b.hash());
}

TEST(RecalibrateBatchNorms, KeepsTheOldOnesWhenItFails) {
  Graph graph = test::small_mobilenet();
  const uint64_t before = graph.hash();
  test::ToySource source(graph, 24, 16);
  EXPECT_THROW(recalibrate_batch_norms(graph, source, 0), Error);
  request_interrupt();
  EXPECT_THROW(recalibrate_batch_norms(graph, source, 2), Interrupted);
  request_interrupt(false);
  EXPECT_EQ(graph.hash(), before);
}

}  // namespace
}  // namespace espalier
