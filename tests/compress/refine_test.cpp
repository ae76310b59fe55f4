// Intervals of points, and points measured again on more images.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
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

TEST(DecisivePoints, AreThoseAroundWhatAGroupLoses) {
  Sensitivity s;
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    GroupSensitivity group{.name = name, .channels = 10};
    for (const double ratio : {0.2, 0.4, 0.6}) group.points.push_back({.ratio = ratio});
    s.groups.push_back(group);
  }
  PruningPlan plan;
  plan.rule = "tolerance";
  plan.groups = {{.name = "a", .ratio = 0.3},
                 {.name = "b", .ratio = 0.6},
                 {.name = "c", .ratio = 0},
                 {.name = "d", .ratio = 0, .reason = "excluded"},
                 {.name = "e", .ratio = 0.1, .reason = ""},
                 {.name = "not measured", .ratio = 0, .reason = "not measured"}};
  const std::vector<PointName> want = {{"a", 0.2}, {"a", 0.4}, {"b", 0.6}, {"c", 0.2}, {"e", 0.2}};
  EXPECT_EQ(decisive_points(s, plan), want);
  plan.rule = "uniform";
  EXPECT_TRUE(decisive_points(s, plan).empty());
}

}  // namespace
}  // namespace espalier
