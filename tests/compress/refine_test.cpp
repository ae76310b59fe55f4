// Intervals of points, and points measured again on more images.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "compress/curve.h"
#include "compress/select.h"
#include "compress/toy.h"
#include "passes/masking.h"
#include "runtime/session.h"
#include "support/messages.h"
#include "support/temporary_directory.h"
#include "tasks/evaluate.h"

namespace espalier {
namespace {

using test::contains;
using test::message_of;

struct RefineTest : ::testing::Test {
  test::TemporaryDirectory folder;
  std::filesystem::path file = folder.path() / "few.json", refined = folder.path() / "refined.json";
  Graph graph = test::small_concat_network();
  std::unique_ptr<Task> task = make_task("classification", 6, Json::object());
  test::ToySource few{graph, 16, 16}, all{graph, 48, 16, 2};
  SensitivityOptions options{.ratios = {0.25, 0.5, 0.75}, .stop_loss = 1};
  Sensitivity curves = measure_sensitivity(graph, *task, few, file, options);

  int64_t refine(const std::vector<PointName>& points) {
    return refine_sensitivity(graph, *task, all, refined, points, curves);
  }
};

TEST_F(RefineTest, EveryPointHasTheIntervalOfItsMetric) {
  for (const ChannelGroup& group : channel_groups(graph))
    for (const SensitivityPoint& point : curves.find(group.name)->points) {
      std::vector<int> channels = removal_order(graph, group, "l1");
      channels.resize(static_cast<size_t>(point.removed));
      Session session(test::masked(graph, {{group, channels}}));
      const MetricResult want = evaluate(session, *task, few);
      EXPECT_EQ(point.low, want.low) << group.name;
      EXPECT_EQ(point.high, want.high) << group.name;
      EXPECT_LT(point.low, point.high);
    }
  EXPECT_LT(curves.baseline_low, curves.baseline);
  EXPECT_GE(curves.baseline_high, curves.baseline);
}

TEST_F(RefineTest, PointsBecomeThoseOfMoreImagesAndOthersStay) {
  const Sensitivity whole = measure_sensitivity(graph, *task, all, folder.path() / "all.json", options),
                    before = curves;
  const std::vector<PointName> points = {{"b", 0.5}, {"a", 0.25}, {"b", 0.25}};
  EXPECT_EQ(refine(points), 3);
  EXPECT_EQ(curves.refined.baseline, whole.baseline);
  EXPECT_EQ(curves.refined.samples, 48);
  for (size_t g = 0; g < curves.groups.size(); ++g)
    for (size_t i = 0; i < 3; ++i) {
      const SensitivityPoint &got = curves.groups[g].points[i], &on_all = whole.groups[g].points[i],
                             &on_few = before.groups[g].points[i];
      const PointName name{curves.groups[g].name, got.ratio};
      SCOPED_TRACE(str(name.group, " ", name.ratio));
      if (std::find(points.begin(), points.end(), name) == points.end()) {
        EXPECT_EQ(got.metric, on_few.metric);
        EXPECT_EQ(got.samples, 0);
        continue;
      }
      EXPECT_EQ(got.metric, on_all.metric);
      EXPECT_EQ(got.loss, on_all.loss);
      EXPECT_EQ(got.low, on_all.low);
      EXPECT_NEAR(got.evaluation_loss - curves.baseline_loss, on_all.evaluation_loss - whole.baseline_loss,
                  1e-9);
      EXPECT_EQ(got.samples, 48);
    }
  EXPECT_EQ(refine(points), 0) << "nothing is measured twice";
  EXPECT_EQ(to_json(load_sensitivity(refined)), to_json(curves));
}

TEST_F(RefineTest, GoesOnFromItsFile) {
  refine({{"a", 0.25}, {"b", 0.5}});
  const Json want = to_json(curves);
  curves = load_sensitivity(file);
  const int before = all.batches_given;
  EXPECT_EQ(refine({{"b", 0.5}, {"a", 0.25}}), 2);
  EXPECT_EQ(all.batches_given, before) << "it was all there";
  EXPECT_EQ(to_json(curves), want);
  // What was not asked for stays as it was, whatever the file holds.
  curves = load_sensitivity(file);
  EXPECT_EQ(refine({{"a", 0.25}}), 1);
  for (const GroupSensitivity& group : curves.groups)
    for (const SensitivityPoint& point : group.points)
      EXPECT_EQ(point.samples, group.name == "a" && point.ratio == 0.25 ? 48 : 0) << group.name;
  // A file of other images is measured anew.
  curves = load_sensitivity(file);
  test::ToySource other{graph, 64, 16, 9};
  EXPECT_EQ(refine_sensitivity(graph, *task, other, refined, {{"a", 0.25}}, curves), 1);
  EXPECT_EQ(curves.refined.samples, 64);
}

TEST_F(RefineTest, APointThatIsNotThereIsAnError) {
  EXPECT_TRUE(contains(message_of([&] { refine({{"a", 0.3}}); }), "there is no point of a at 0.3"));
  EXPECT_TRUE(contains(message_of([&] { refine({{"z", 0.25}}); }), "there is no point of z"));
}

/// Curves of six groups with intervals of 0.1 on both sides, and a plan for each by tolerance 0.1.
struct DecisivePointsTest : ::testing::Test {
  Sensitivity s{.baseline = 1};
  PruningPlan plan;
  SelectOptions options{.keep_macs = 0.5, .keep_multiple_of = 10, .min_channels = 10};

  void add(const std::string& name, std::vector<double> losses, const std::string& reason = "") {
    GroupSensitivity group{.name = name, .channels = 100};
    for (size_t i = 0; i < losses.size(); ++i)
      group.points.push_back({.ratio = 0.2 * static_cast<double>(i + 1),
                              .metric = 1 - losses[i],
                              .loss = losses[i],
                              .low = 1 - losses[i] - 0.1,
                              .high = 1 - losses[i] + 0.1});
    const double ratio = reason.empty() ? Curve(group.points).ratio_within(0.1) : 0;
    GroupPlan decision{.name = name, .before = 100, .kept = kept_channels(100, ratio, options)};
    decision.ratio = 1 - decision.kept / 100.0;
    decision.reason = reason;
    plan.groups.push_back(decision);
    s.groups.push_back(group);
  }
  void SetUp() override {
    plan.rule = name(SelectionRule::kTolerance);
    plan.tolerance = 0.1;
    add("on the edge", {0, 0.09, 0.8});
    add("far from it", {0, 0, 50});
    add("all to lose", {0, 0, 0.05});
    add("whole", {0.15, 0.8, 0.9});
    add("hopeless", {50, 60, 70});
    add("excluded", {0, 0.1, 0.2}, "excluded");
  }
};

TEST_F(DecisivePointsTest, AreThoseThatCouldChangeAGroup) {
  // "far from it" has no loss at 0.4 but could have 0.1 by its interval, and then still keeps 60: 0.6 is out
  // of reach.
  const std::vector<PointName> want = {{"on the edge", 0.4},
                                       {"on the edge", 0.6000000000000001},
                                       {"all to lose", 0.6000000000000001},
                                       {"whole", 0.2}};
  EXPECT_EQ(decisive_points(s, options, plan), want);
}

TEST_F(DecisivePointsTest, AreFewerWithSmallerIntervals) {
  for (GroupSensitivity& group : s.groups)
    for (SensitivityPoint& p : group.points) p.low = p.high = p.metric;
  EXPECT_TRUE(decisive_points(s, options, plan).empty());
}

TEST_F(DecisivePointsTest, APartOfWhatToleranceZeroAllowsIsADecisionLikeAnother) {
  plan.tolerance = 0;
  plan.cut_share = 0.5;
  for (size_t g = 0; g < s.groups.size(); ++g) {
    for (SensitivityPoint& p : s.groups[g].points) p.loss = 0, p.low = p.high = 1;
    if (plan.groups[g].reason.empty()) plan.groups[g].kept = kept_channels(100, 0.3, options);
    plan.groups[g].ratio = 1 - plan.groups[g].kept / 100.0;
  }
  EXPECT_TRUE(decisive_points(s, options, plan).empty());
}

TEST_F(DecisivePointsTest, OfGreedyAreAllNeighboursAndOfAUniformCutNone) {
  plan.rule = name(SelectionRule::kGreedy);
  const auto points = decisive_points(s, options, plan);
  EXPECT_EQ(points.size(), 2u + 2 + 1 + 1 + 1);
  EXPECT_EQ(points[2].group, "far from it");
  plan.rule = name(SelectionRule::kUniform);
  EXPECT_TRUE(decisive_points(s, options, plan).empty());
}

/// Channels that two plans keep differently, as a share of all.
double difference(const PruningPlan& a, const PruningPlan& b) {
  double different = 0, all = 0;
  for (size_t g = 0; g < a.groups.size(); ++g) {
    different += std::abs(a.groups[g].kept - b.groups[g].kept);
    all += a.groups[g].before;
  }
  return different / all;
}

TEST(SelectRefined, ChoosesWhatCurvesOfAllImagesChoose) {
  const test::TemporaryDirectory folder;
  const Graph graph = test::small_mobilenet();
  const auto task = make_task("classification", 10, Json::object());
  test::ToySource few{graph, 64, 32}, all{graph, 320, 32, 2};
  const SensitivityOptions measured{.ratios = {0.2, 0.4, 0.6, 0.8}};
  const auto curves = [&](test::ToySource& source, const char* file) {
    return measure_sensitivity(graph, *task, source, folder.path() / file, measured);
  };
  const Sensitivity of_all = curves(all, "all.json"), of_few = curves(few, "few.json");
  size_t points = 0;
  for (const GroupSensitivity& group : of_all.groups) points += group.points.size();
  for (const double tolerance : {0.3, 0.35, 0.4}) {
    SCOPED_TRACE(tolerance);
    const SelectOptions options{.tolerance = tolerance, .keep_multiple_of = 2, .min_channels = 2};
    Sensitivity curves_refined = of_few;
    const PruningPlan want = select_channels(graph, of_all, options),
                      got =
                          select_channels_refined(graph, *task, all, folder.path() / str(tolerance, ".json"),
                                                  curves_refined, options),
                      unrefined = select_channels(graph, of_few, options);
    EXPECT_EQ(difference(got, want), 0);
    EXPECT_GT(difference(unrefined, want), 0) << "nothing had to be measured again: the test proves nothing";
    size_t again = 0;
    for (const GroupSensitivity& group : curves_refined.groups)
      for (const SensitivityPoint& p : group.points) again += p.samples > 0;
    EXPECT_GT(again, 0u);
    EXPECT_LT(again, points);
  }
}

}  // namespace
}  // namespace espalier
