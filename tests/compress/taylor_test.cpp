#include "compress/taylor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "compress/prune.h"
#include "compress/toy.h"
#include "ops/autograd.h"
#include "support/messages.h"
#include "support/temporary_directory.h"
#include "tasks/evaluate.h"

namespace espalier {
namespace {

using test::contains;
using test::message_of;

struct TaylorTest : ::testing::Test {
  test::TemporaryDirectory folder;
  std::filesystem::path file = folder.path() / "sensitivity.json";
  Graph graph = test::small_concat_network();
  std::unique_ptr<Task> task = make_task("classification", 6, Json::object());
  test::ToySource source{graph, 40, 16};
};

/// The graph with what reads one channel of a group scaled.
Graph with_gate(const Graph& graph, const ChannelGroup& group, int channel, double gate) {
  Graph scaled = graph.clone();
  for (const ChannelGroup::Member& m : group.members) {
    if (!m.reads) continue;
    const Tensor& w = scaled.values[m.value].param;
    const int64_t channels = w.shape()[m.axis], inner = m.axis + 1 == w.shape().axes() ? 1 : w.shape()[3];
    for (int64_t i = 0; i < w.elements(); ++i)
      if (i / inner % channels == m.index[channel]) w.f32()[i] *= static_cast<float>(gate);
  }
  return scaled;
}

TEST_F(TaylorTest, IsTheSlopeOfTheLossInEachChannelsGate) {
  const ChannelScores scores = taylor_scores(graph, *task, source, 2);
  for (const ChannelGroup& group : channel_groups(graph)) {
    ASSERT_EQ(static_cast<int>(scores.at(group.name).size()), group.channels);
    for (const int c : {0, group.channels - 1}) {
      SCOPED_TRACE(str(group.name, " ", c));
      constexpr double kStep = 0.02;
      double expected = 0, size = 0;
      source.start(0, 0);
      Batch batch;
      for (int i = 0; i < 2; ++i) {
        source.next(batch);
        const NoGrad plain;
        const auto loss = [&](double gate) {
          return double{task->loss(with_gate(graph, group, c, gate).run({batch.images}), batch).item()};
        };
        const double slope = (loss(1 + kStep) - loss(1 - kStep)) / (2 * kStep);
        expected += slope * slope / 2;
        size += loss(1);
      }
      EXPECT_NEAR(std::sqrt(scores.at(group.name)[c]), std::sqrt(expected),
                  0.02 * std::sqrt(expected) + 1e-4 * size);
    }
  }
}

TEST_F(TaylorTest, WhatNobodyReadsGoesFirst) {
  const ChannelGroup group = channel_groups(graph).front();
  graph = with_gate(graph, group, 5, 0);
  const std::vector<double> scores = taylor_scores(graph, *task, source, 2).at(group.name);
  EXPECT_EQ(scores[5], 0);
  EXPECT_EQ(removal_order(scores, group.name, "taylor").front(), 5);
}

TEST_F(TaylorTest, LeavesTheGraphAndItsGradientsAlone) {
  const uint64_t before = graph.hash();
  taylor_scores(graph, *task, source, 1);
  EXPECT_EQ(graph.hash(), before);
  for (const Graph::Value& value : graph.values)
    if (value.param.defined()) {
      EXPECT_FALSE(value.param.requires_grad()) << value.name;
    }
}

TEST_F(TaylorTest, OrdersTravelWithTheCurves) {
  int asked = 0;
  SensitivityOptions options{.ratios = {0.25, 0.5}, .criterion = "taylor", .stop_loss = 1};
  options.scores = [&] {
    ++asked;
    return taylor_scores(graph, *task, source, 3);
  };
  const Sensitivity measured = measure_sensitivity(graph, *task, source, file, options);
  const ChannelScores scores = taylor_scores(graph, *task, source, 3);
  for (const GroupSensitivity& group : measured.groups)
    EXPECT_EQ(group.order, removal_order(scores.at(group.name), group.name, "taylor"));
  // More ratios: the same orders, from the file.
  options.ratios = {0.75};
  const Sensitivity more = measure_sensitivity(graph, *task, source, file, options);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(to_json(load_sensitivity(file)), to_json(more));

  // What is cut is what was measured.
  const PruningPlan plan =
      select_channels(graph, more, {.keep_macs = 0.6, .keep_multiple_of = 1, .min_channels = 1});
  const Graph pruned = prune(graph, plan);
  for (const ChannelGroup& group : channel_groups(graph)) {
    const ChannelGroup::Member& maker = group.members.front();
    const auto entry = std::find_if(plan.groups.begin(), plan.groups.end(),
                                    [&](const GroupPlan& g) { return g.name == group.name; });
    std::vector<int> kept(entry->order.begin() + (group.channels - entry->kept), entry->order.end());
    std::sort(kept.begin(), kept.end());
    const Tensor whole = graph.values[maker.value].param;
    const Tensor cut = pruned.values[pruned.find(graph.values[maker.value].name)].param;
    ASSERT_EQ(cut.shape()[0], entry->kept);
    // The input channels are cut too: the centre of what is left is enough to know the filters apart.
    const int64_t per_whole = whole.elements() / whole.shape()[0], per_cut = cut.elements() / cut.shape()[0];
    if (per_whole != per_cut) continue;
    for (size_t i = 0; i < kept.size(); ++i)
      EXPECT_EQ(cut.f32()[i * per_cut], whole.f32()[kept[i] * per_whole]) << group.name;
  }
}

TEST_F(TaylorTest, WhatLacksPicturesIsOneLine) {
  const SensitivityOptions options{.ratios = {0.5}, .criterion = "taylor"};
  EXPECT_TRUE(contains(message_of([&] { measure_sensitivity(graph, *task, source, file, options); }),
                       "criterion taylor needs pictures to score channels by"));
  const ChannelGroup group = channel_groups(graph).front();
  EXPECT_TRUE(contains(message_of([&] { removal_order(graph, group, "taylor"); }), "needs pictures"));
  EXPECT_TRUE(contains(message_of([&] { taylor_scores(graph, *task, source, 0); }), "at least 1 is needed"));

  Sensitivity by_l1 = measure_sensitivity(graph, *task, source, file, {.ratios = {0.5}});
  const SelectOptions by_taylor{.keep_macs = 0.6, .criterion = "taylor"};
  EXPECT_TRUE(contains(message_of([&] { select_channels(graph, by_l1, by_taylor); }),
                       "the sensitivities were measured by l1; measure them by taylor"));
  by_l1.criterion = "taylor";
  ++by_l1.model;
  EXPECT_TRUE(contains(message_of([&] { select_channels(graph, by_l1, by_taylor); }), "of other weights"));
  --by_l1.model;
  by_l1.groups[0].order = {0, 0, 1, 2, 3, 4, 5, 6};
  const Json damaged = to_json(by_l1);
  EXPECT_TRUE(
      contains(message_of([&] { sensitivity_from_json(damaged, "file"); }), "each of 8 channels once"));
}

}  // namespace
}  // namespace espalier
