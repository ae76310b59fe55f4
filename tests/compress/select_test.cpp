#include "compress/select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "compress/curve.h"
#include "compress/prune.h"
#include "compress/toy.h"
#include "support/messages.h"

namespace espalier {
namespace {

using test::contains;
using test::message_of;

std::vector<SensitivityPoint> curve(std::vector<std::pair<double, double>> points) {
  std::vector<SensitivityPoint> result;
  for (const auto& [ratio, loss] : points) result.push_back({ratio, 0, 1 - loss, loss, 1 + loss});
  return result;
}

/// Curves for every group, of random steepness; some noise, some of it below zero.
Sensitivity made_up(const Graph& graph, uint64_t seed = 1) {
  Sensitivity s{.metric_name = "top1",
                .baseline = 1,
                .baseline_loss = 0.3,
                .samples = 100,
                .criterion = "l1",
                .model = graph.hash()};
  Random random(seed, Purpose::kTest);
  for (int i = 1; i <= 9; ++i) s.ratios.push_back(0.1 * i);
  for (const ChannelGroup& group : channel_groups(graph)) {
    GroupSensitivity g{.name = group.name, .channels = group.channels};
    const double steep = random.uniform(0.05, 1);
    for (const double r : s.ratios) {
      const double loss = steep * r * r + random.uniform(-0.01, 0.01);
      g.points.push_back({r, 0, 0, loss, 0.3 - std::log(1 - std::clamp(loss, 0.0, 0.99))});
    }
    s.groups.push_back(g);
  }
  return s;
}

TEST(RatioForTolerance, IsTheReferencesRule) {
  // Interpolated towards the next point; worked by hand.
  EXPECT_DOUBLE_EQ(ratio_for_tolerance(curve({{0.1, 0.01}, {0.2, 0.03}, {0.3, 0.11}}), 0.05),
                   0.2 + (0.05 - 0.03) * (0.3 - 0.2) / (0.11 - 0.03));
  EXPECT_DOUBLE_EQ(ratio_for_tolerance(curve({{0.1, 0.01}, {0.2, 0.03}}), 0.05),
                   0.2);  // the largest as it is
  EXPECT_DOUBLE_EQ(ratio_for_tolerance(curve({{0.1, 0.06}, {0.2, 0.3}}), 0.05), 0);
  EXPECT_DOUBLE_EQ(ratio_for_tolerance({}, 0.05), 0);
  // A curve that comes down again: the last ratio that is within the tolerance, from the right.
  EXPECT_DOUBLE_EQ(ratio_for_tolerance(curve({{0.1, 0.01}, {0.2, 0.2}, {0.3, 0.04}, {0.4, 0.06}}), 0.05),
                   0.35);
  // A gain counts as no loss, and is interpolated from where it was measured.
  EXPECT_DOUBLE_EQ(ratio_for_tolerance(curve({{0.1, -0.05}, {0.2, 0.15}}), 0.05), 0.15);
}

TEST(Curve, NeverFallsAndStartsAtZero) {
  const Curve c(curve({{0.1, -0.02}, {0.2, 0.1}, {0.3, 0.05}, {0.4, 0.3}}));
  EXPECT_DOUBLE_EQ(c.loss(0), 0);
  EXPECT_DOUBLE_EQ(c.loss(0.1), 0);
  EXPECT_DOUBLE_EQ(c.loss(0.15), 0.05);
  EXPECT_DOUBLE_EQ(c.loss(0.3), 0.1);
  EXPECT_DOUBLE_EQ(c.loss(0.35), 0.2);
  EXPECT_DOUBLE_EQ(c.loss(0.9), 0.3);
  EXPECT_DOUBLE_EQ(c.ratio_within(0), 0.1);
  EXPECT_DOUBLE_EQ(c.ratio_within(0.05), 0.15);
  EXPECT_DOUBLE_EQ(c.ratio_within(0.1), 0.3);
  EXPECT_DOUBLE_EQ(c.ratio_within(0.2), 0.35);
  EXPECT_DOUBLE_EQ(c.ratio_within(1), 0.4);
  EXPECT_DOUBLE_EQ(Curve({}).ratio_within(1), 0);
  const Curve rise(curve({{0.1, -0.02}, {0.2, 0.1}}), &SensitivityPoint::evaluation_loss, 1);
  EXPECT_DOUBLE_EQ(rise.loss(0.1), 0);
  EXPECT_NEAR(rise.loss(0.2), 0.1, 1e-15);
}

struct SelectTest : ::testing::Test {
  Graph graph = build_model({"mobilenet_v2", 10, {{"width", 0.5}}}, 32, 1);
  Sensitivity curves = made_up(graph);

  PruningPlan plan(const SelectOptions& options) { return select_channels(graph, curves, options); }
};

/// What any plan must hold.
void expect_sound(const Graph& graph, const PruningPlan& plan, const SelectOptions& options) {
  const Graph pruned = prune(graph, plan);
  pruned.verify();
  EXPECT_EQ(cost(pruned).macs, plan.after.macs);
  EXPECT_EQ(cost(pruned).parameters, plan.after.parameters);
  EXPECT_EQ(cost(pruned).bytes, plan.after.bytes);
  const std::vector<ChannelGroup> groups = channel_groups(pruned);
  ASSERT_EQ(groups.size(), plan.groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    const GroupPlan& p = plan.groups[g];
    SCOPED_TRACE(p.name);
    EXPECT_EQ(groups[g].name, p.name);
    EXPECT_EQ(groups[g].channels, p.kept);
    EXPECT_DOUBLE_EQ(p.ratio, 1.0 - static_cast<double>(p.kept) / p.before);
    EXPECT_EQ(p.kept == p.before, !p.reason.empty());
    if (p.kept == p.before) continue;
    EXPECT_EQ(p.kept % options.keep_multiple_of, 0);
    EXPECT_GE(p.kept, options.min_channels);
    EXPECT_GE(p.kept, p.before - static_cast<int>(p.before * options.max_ratio + 0.5));
  }
}

TEST_F(SelectTest, ToleranceBoundsEveryGroup) {
  for (const double tolerance : {0.0, 0.02, 0.1, 0.4, 1.0}) {
    const SelectOptions options{.tolerance = tolerance};
    const PruningPlan p = plan(options);
    EXPECT_EQ(p.rule, "reference");
    expect_sound(graph, p, options);
    for (size_t g = 0; g < p.groups.size(); ++g) {
      const double ratio = ratio_for_tolerance(curves.groups[g].points, tolerance);
      EXPECT_LE(p.groups[g].ratio, ratio + 0.5 / p.groups[g].before + 1e-9) << p.groups[g].name;
    }
  }
}

TEST_F(SelectTest, TheReferencesCountsWithoutRounding) {
  const SelectOptions options{.tolerance = 0.1, .keep_multiple_of = 1, .min_channels = 1};
  const PruningPlan p = plan(options);
  expect_sound(graph, p, options);
  for (size_t g = 0; g < p.groups.size(); ++g) {
    const double ratio = std::min(0.9, ratio_for_tolerance(curves.groups[g].points, 0.1));
    EXPECT_EQ(p.groups[g].kept, p.groups[g].before - std::nearbyint(p.groups[g].before * ratio));
  }
}

TEST_F(SelectTest, BudgetsHoldAfterRounding) {
  struct Budget {
    const char* name;
    std::optional<double> SelectOptions::*share;
    int64_t Cost::*counts;
  };
  const Budget budgets[] = {{"macs", &SelectOptions::keep_macs, &Cost::macs},
                            {"parameters", &SelectOptions::keep_parameters, &Cost::parameters},
                            {"bytes", &SelectOptions::keep_bytes, &Cost::bytes}};
  for (const SelectionRule rule :
       {SelectionRule::kTolerance, SelectionRule::kGreedy, SelectionRule::kUniform})
    for (const double share : {0.25, 0.4, 0.41, 0.6, 0.9, 1.0})
      for (const Budget& budget : budgets) {
        SCOPED_TRACE(str(name(rule), " ", share, " ", budget.name));
        SelectOptions options{.rule = rule};
        options.*budget.share = share;
        const PruningPlan p = plan(options);
        expect_sound(graph, p, options);
        const double left =
            static_cast<double>(p.after.*budget.counts) / static_cast<double>(p.before.*budget.counts);
        EXPECT_LE(left, share);
        EXPECT_GT(left, share - 0.08) << "much more was cut than asked for";
        EXPECT_EQ(p.rule, name(rule));
        EXPECT_EQ(p.tolerance.has_value(), rule == SelectionRule::kTolerance);
      }
}

TEST_F(SelectTest, TheToleranceFoundIsTheLeast) {
  const PruningPlan p = plan({.keep_macs = 0.5});
  double most = 0;
  for (size_t g = 0; g < p.groups.size(); ++g) {
    const Curve c(curves.groups[g].points);
    EXPECT_LE(p.groups[g].ratio, c.ratio_within(*p.tolerance) + 0.5 / p.groups[g].before + 1e-9);
    most = std::max(most, p.groups[g].loss);
  }
  EXPECT_LE(most, *p.tolerance + 0.02);
  EXPECT_GT(*p.tolerance, 0.01);
}

TEST_F(SelectTest, FlatCurvesAreCutAsFarAsTheBudgetAsks) {
  // Half of the groups lose nothing at all, the others nothing up to a half.
  for (size_t g = 0; g < curves.groups.size(); ++g)
    for (SensitivityPoint& p : curves.groups[g].points) p.loss = g % 2 && p.ratio > 0.55 ? 0.5 : 0;
  const auto left = [](const PruningPlan& p) {
    return static_cast<double>(p.after.macs) / static_cast<double>(p.before.macs);
  };
  double before = 2;
  for (const double share : {1.0, 0.9, 0.75, 0.5}) {
    SCOPED_TRACE(share);
    const SelectOptions options{.keep_macs = share};
    const PruningPlan p = plan(options);
    expect_sound(graph, p, options);
    EXPECT_LE(left(p), share);
    EXPECT_GT(left(p), share - 0.03) << "much more was cut than asked for";
    EXPECT_LT(left(p), before) << "the same network as for a larger budget";
    before = left(p);
    EXPECT_EQ(*p.tolerance, 0);
    EXPECT_LT(p.cut_share, 1);
    EXPECT_EQ(p.predicted_loss, 0);
    EXPECT_EQ(to_json(plan(options)), to_json(p));
    EXPECT_TRUE(contains(describe(p), "tolerance 0.00 % and ")) << describe(p);
    // Every group gives up the same share of what it has for nothing.
    for (size_t g = 0; g < p.groups.size(); ++g) {
      const GroupPlan& group = p.groups[g];
      if (group.kept == group.before) continue;
      EXPECT_EQ(group.kept, kept_channels(group.before, p.cut_share * (g % 2 ? 0.5 : 0.9), options));
    }
  }
  // A budget that costs something is met by a tolerance as ever.
  const PruningPlan deep = plan({.keep_macs = 0.15});
  EXPECT_GT(*deep.tolerance, 0);
  EXPECT_EQ(deep.cut_share, 1);
}

TEST_F(SelectTest, UniformTakesTheSameShareWhateverTheCurvesSay) {
  const SelectOptions options{.keep_macs = 0.4, .rule = SelectionRule::kUniform, .keep_multiple_of = 1};
  const PruningPlan p = plan(options);
  curves = made_up(graph, 7);
  EXPECT_EQ(to_json(plan(options)).at("after"), to_json(p).at("after"));
  double least = 1, most = 0;
  for (const GroupPlan& group : p.groups) {
    if (group.before < 64) continue;  // a channel more or less shows in narrow ones
    least = std::min(least, group.ratio);
    most = std::max(most, group.ratio);
  }
  EXPECT_LE(most - least, 1.0 / 64 + 1e-9);
  EXPECT_GT(least, 0.2);
}

TEST_F(SelectTest, ACriterionOfItsOwnGoesIntoThePlan) {
  EXPECT_EQ(plan({.keep_macs = 0.5}).criterion, "l1");
  const PruningPlan p = plan({.keep_macs = 0.5, .criterion = "random"});
  EXPECT_EQ(p.criterion, "random");
  EXPECT_EQ(p.after.macs, plan({.keep_macs = 0.5}).after.macs);
  EXPECT_TRUE(contains(message_of([&] { plan({.keep_macs = 0.5, .criterion = "l3"}); }), "'l3' is unknown"));
}

TEST_F(SelectTest, GreedPredictsLessLossThanOneTolerance) {
  for (const uint64_t seed : {1, 2, 3, 4}) {
    curves = made_up(graph, seed);
    const PruningPlan greedy = plan({.keep_macs = 0.4, .rule = SelectionRule::kGreedy});
    const PruningPlan even = plan({.keep_macs = 0.4, .rule = SelectionRule::kTolerance});
    EXPECT_LT(greedy.predicted_loss, even.predicted_loss);
  }
}

TEST_F(SelectTest, GreedGoesByTheEvaluationLoss) {
  // A metric that is down to chance says nothing any more; the loss still does.
  for (GroupSensitivity& g : curves.groups) {
    const bool broken = g.name == "block3/expand";
    for (SensitivityPoint& p : g.points) {
      p.loss = broken ? 0.9 : 0.1 * p.ratio;
      p.evaluation_loss = 0.3 + (broken ? 20 : 0.1) * p.ratio;
    }
  }
  for (const GroupPlan& g : plan({.keep_macs = 0.4, .rule = SelectionRule::kGreedy}).groups) {
    if (g.name != "block3/expand") continue;
    EXPECT_EQ(g.kept, g.before);
  }
}

TEST_F(SelectTest, IncludeAndExclude) {
  const PruningPlan p =
      plan({.tolerance = 1, .groups = {.include = {"*expand", "head"}, .exclude = {"block3/*"}}});
  for (const GroupPlan& g : p.groups) {
    const bool expected = (g.name.ends_with("expand") && g.name != "block3/expand") || g.name == "head";
    EXPECT_EQ(g.kept < g.before, expected) << g.name;
    EXPECT_EQ(g.reason, expected ? "" : "excluded");
  }
  // Excluding any layer of a tied group keeps the group; depthwise filters are layers, readers are not.
  EXPECT_EQ(plan({.tolerance = 1, .groups = {.exclude = {"block6/project"}}}).groups[6].name,
            "block4/project");
  EXPECT_EQ(plan({.tolerance = 1, .groups = {.exclude = {"block6/project"}}}).groups[6].reason, "excluded");
  EXPECT_EQ(plan({.tolerance = 1, .groups = {.exclude = {"block1/depthwise"}}}).groups[0].reason, "excluded");
  EXPECT_TRUE(contains(message_of([&] { plan({.tolerance = 1, .groups = {.exclude = {"classifier"}}}); }),
                       "exclude: 'classifier' matches no layer whose channels can be removed"));
  EXPECT_TRUE(contains(message_of([&] { plan({.tolerance = 1, .groups = {.include = {"block3/expnd"}}}); }),
                       "did you mean 'block3/expand'?"));
}

TEST_F(SelectTest, GroupsWithoutCurveStayWhole) {
  curves.groups.erase(curves.groups.begin() + 3);
  curves.groups[5].points.clear();
  const PruningPlan p = plan({.tolerance = 1});
  EXPECT_EQ(p.groups[3].reason, "not measured");
  EXPECT_EQ(p.groups[6].reason, "not measured");
  EXPECT_EQ(p.groups[3].kept, p.groups[3].before);
}

TEST_F(SelectTest, CurvesAreNotLeftAtTheirEnd) {
  for (GroupSensitivity& g : curves.groups) g.points.resize(3);  // measured up to 0.3
  const SelectOptions options{.tolerance = 1, .keep_multiple_of = 1, .min_channels = 1};
  for (const GroupPlan& g : plan(options).groups) EXPECT_LE(g.ratio, 0.3 + 0.5 / g.before);
}

TEST_F(SelectTest, ABudgetOutOfReachSaysWhatIsNot) {
  const std::string message = message_of([&] {
    plan({.keep_macs = 0.3, .groups = {.include = {"head", "stem"}}});
  });
  EXPECT_TRUE(contains(message, "prune: keep_macs 0.3 cannot be met")) << message;
  const size_t at = message.find("allow, ");
  ASSERT_NE(at, std::string::npos);
  const double least = std::stod(message.substr(at + 7)) / 100;
  EXPECT_GT(least, 0.3);
  EXPECT_LE(static_cast<double>(
                plan({.keep_macs = least + 0.001, .groups = {.include = {"head", "stem"}}}).after.macs),
            (least + 0.001) * plan({.tolerance = 0}).before.macs);
}

TEST_F(SelectTest, NarrowGroupsKeepAMultipleOfHalf) {
  for (const SelectionRule rule : {SelectionRule::kTolerance, SelectionRule::kGreedy}) {
    const PruningPlan halved =
        plan({.keep_macs = 0.5, .rule = rule, .keep_multiple_of = 16, .halve_for_narrow = true});
    int narrow = 0, wide = 0;
    for (const GroupPlan& group : halved.groups) {
      if (group.kept == group.before) continue;
      EXPECT_EQ(group.kept % (group.before < 64 ? 8 : 16), 0) << group.name;
      narrow += group.before < 64 && group.kept % 16 != 0;
      wide += group.before >= 64;
    }
    EXPECT_GT(narrow, 0);
    EXPECT_GT(wide, 0);
  }
}

TEST_F(SelectTest, ATolerancePastTheLeastLossRemovesSomething) {
  for (GroupSensitivity& group : curves.groups)
    for (SensitivityPoint& point : group.points) point.loss = std::abs(point.loss) + 0.02;
  const auto removed = [&](double tolerance) {
    const PruningPlan p = plan({.tolerance = tolerance});
    return p.before.parameters - p.after.parameters;
  };
  EXPECT_EQ(removed(0.01), 0);
  const std::optional<double> enough = tolerance_that_removes(graph, curves, {.tolerance = 0.01});
  ASSERT_TRUE(enough.has_value());
  EXPECT_GT(removed(*enough), 0);
  for (GroupSensitivity& group : curves.groups) group.points.clear();
  EXPECT_FALSE(tolerance_that_removes(graph, curves, {.tolerance = 0.01}).has_value());
}

TEST_F(SelectTest, ImpossibleOptionsAreErrors) {
  EXPECT_TRUE(contains(message_of([&] { plan({}); }), "none of tolerance, keep_macs"));
  EXPECT_TRUE(contains(message_of([&] { plan({.tolerance = 0.1, .keep_macs = 0.4}); }), "more than one"));
  EXPECT_TRUE(contains(message_of([&] { plan({.tolerance = 1.5}); }), "tolerance 1.5"));
  EXPECT_TRUE(contains(message_of([&] { plan({.keep_macs = 0.0}); }), "keep_macs 0"));
  EXPECT_TRUE(contains(message_of([&] { plan({.keep_bytes = 2}); }), "keep_bytes 2"));
  EXPECT_TRUE(contains(message_of([&] { plan({.tolerance = 0.1, .rule = SelectionRule::kUniform}); }),
                       "rule uniform is for a budget"));
  EXPECT_TRUE(contains(message_of([&] { plan({.keep_parameters = 1.1}); }), "keep_parameters 1.1"));
  EXPECT_TRUE(
      contains(message_of([&] { plan({.tolerance = 0.1, .keep_multiple_of = 0}); }), "keep_multiple_of"));
  EXPECT_TRUE(contains(message_of([&] { plan({.tolerance = 0.1, .max_ratio = 1}); }), "max_ratio 1"));
  EXPECT_TRUE(contains(message_of([] { selection_rule_from_name("gredy"); }), "did you mean 'greedy'?"));
  const Graph other = test::small_concat_network();
  EXPECT_TRUE(
      contains(message_of([&] { select_channels(other, curves, {.tolerance = 0.1}); }), "another model"));
  EXPECT_TRUE(
      contains(message_of([&] { prune(other, plan({.tolerance = 0.1})); }), "prune: the plan is of another"));
}

TEST_F(SelectTest, PlansForPeopleAndPrograms) {
  const PruningPlan p = plan({.keep_macs = 0.5});
  const Json json = to_json(p);
  EXPECT_EQ(json.at("groups").size(), 25u);
  EXPECT_EQ(json.at("groups")[6].at("members"), Json({"block4/project", "block5/project", "block6/project"}));
  EXPECT_EQ(json.at("after").at("macs"), p.after.macs);
  EXPECT_EQ(json.at("budget"), (Json{{"keep_macs", 0.5}}));
  EXPECT_EQ(json.at("groups")[0].at("channels_after"), p.groups[0].kept);
  EXPECT_EQ(to_json(plan({.tolerance = 0.1})).at("budget"), (Json{{"tolerance", 0.1}}));
  const std::string text = describe(p);
  EXPECT_TRUE(contains(text, "block14/project, block15/project, block16/project")) << text;
  EXPECT_TRUE(contains(text, str("MACs ", p.before.macs, " -> ", p.after.macs)));
  EXPECT_TRUE(contains(text, "predicted loss"));
}

}  // namespace
}  // namespace espalier
