// Stages that stand for several.

#include "recipe/expand.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "recipe/recipe.h"
#include "support/messages.h"

namespace espalier {
namespace {

using test::message_of;

Recipe recipe(const std::string& stages, const Overrides& overrides = {}) {
  const std::string head = "data:\n  root: pictures\nstages:\n";
  return make_recipe(parse_yaml(head + stages, "r.yaml"), "r", overrides);
}

std::string error(const std::string& stages) {
  return message_of([&] { recipe(stages); });
}

std::vector<std::string> names(const Recipe& r) {
  std::vector<std::string> list;
  for (const StageSpec& stage : r.stages) list.push_back(stage.name);
  return list;
}

using Names = std::vector<std::string>;

constexpr const char* kTargets = R"(  - train: {name: baseline}
  - sensitivity
  - prune: {name: cut, keep_macs: [0.6, 0.125]}
  - train: {name: pruned, epochs: 3}
  - int8: {name: small, from: pruned}
  - int8: {name: whole, from: baseline}
  - bench: {models: [baseline, small]}
expect:
  pruned.top1: {min: 0.5}
  baseline.top1: {min: 0.6}
)";

TEST(Targets, AListOfBudgetsIsOneStageEachAndOfWhatReadsThem) {
  const Recipe r = recipe(kTargets);
  EXPECT_EQ(names(r), (Names{"baseline", "sensitivity", "cut_60", "cut_12_5", "pruned_60", "pruned_12_5",
                             "small_60", "small_12_5", "whole", "bench"}));
  EXPECT_EQ(r.find("cut_60")->options.at("keep_macs"), 0.6);
  EXPECT_EQ(r.find("cut_12_5")->options.at("keep_macs"), 0.125);
  EXPECT_EQ(r.find("cut_12_5")->from, "baseline");
  EXPECT_EQ(r.find("pruned_60")->from, "cut_60");
  EXPECT_EQ(r.find("pruned_12_5")->from, "cut_12_5");
  EXPECT_EQ(r.find("pruned_12_5")->options.at("epochs"), 3);
  EXPECT_EQ(r.find("small_60")->from, "pruned_60");
  EXPECT_EQ(r.find("whole")->from, "baseline");
  EXPECT_EQ(r.find("bench")->options.at("models"), (Json{"baseline", "small_60", "small_12_5"}));
  ASSERT_EQ(r.expect.size(), 3u);
  EXPECT_EQ(r.expect[0].variant, "pruned_60");
  EXPECT_EQ(r.expect[1].variant, "pruned_12_5");
  EXPECT_EQ(r.expect[1].place, "r.yaml:12");
}

TEST(Targets, ABoundOfOneGoesAboveThatOfAll) {
  const std::string text = kTargets;
  for (const std::string& with :
       {text + "  pruned_12_5.top1: {min: 0.4}\n",
        std::string(text).insert(text.find("  pruned.top1"), "  pruned_12_5.top1: {min: 0.4}\n")}) {
    const Recipe r = recipe(with);
    EXPECT_EQ(r.expect.size(), 3u);
    for (const Bound& bound : r.expect)
      EXPECT_EQ(*bound.min, bound.variant == "pruned_12_5" ? 0.4 : bound.variant == "pruned_60" ? 0.5 : 0.6);
  }
}

TEST(Targets, AnOverrideOfTheStageIsOneOfAll) {
  const Recipe r = recipe(kTargets, {"pruned.epochs=7", "cut.keep_macs=[0.5]"});
  EXPECT_EQ(names(r)[2], "cut_50");
  EXPECT_EQ(r.find("pruned_50")->options.at("epochs"), 7);
}

TEST(Targets, OneMayBeTakenFurther) {
  const Recipe r = recipe(R"(  - train: {name: baseline}
  - sensitivity
  - prune: {name: cut, latency_ms: [2.5, 1]}
  - int8: {from: cut_2_5}
  - prune: {name: more, from: baseline, sensitivity: sensitivity, tolerance: [0.05]}
)");
  EXPECT_EQ(names(r), (Names{"baseline", "sensitivity", "cut_2_5", "cut_1", "int8", "more_5"}));
  EXPECT_EQ(r.find("int8")->from, "cut_2_5");
}

TEST(Targets, MessagesNameTheLineThatWasWritten) {
  const auto with = [](const std::string& old_text, const std::string& text) {
    std::string stages = kTargets;
    return error(stages.replace(stages.find(old_text), old_text.size(), text));
  };
  EXPECT_EQ(with("[0.6, 0.125]", "[0.6, 1.5]"),
            "r.yaml:6: stages.3.prune.keep_macs: is 1.5; it must be in (0, 1]");
  EXPECT_EQ(with("[0.6, 0.125]", "[0.6, 0.6]").substr(0, 59),
            "r.yaml:6: stages.3.prune: two stages are called 'cut_60'; g");
  EXPECT_EQ(with("[0.6, 0.125]", "[]"),
            "r.yaml:6: stages.2.prune.keep_macs: is an empty list; give one budget or more");
  EXPECT_EQ(with("[0.6, 0.125]", "[half]"),
            "r.yaml:6: stages.2.prune.keep_macs: holds \"half\"; a budget is a number");
  EXPECT_EQ(with("epochs: 3", "epochs: -3"),
            "r.yaml:7: stages.4.train.epochs: is -3; it must be in [1, 100000]");
  EXPECT_EQ(with("epochs: 3", "epoch: 3").substr(0, 46), "r.yaml:7: stages.4.train.epoch: unknown key; d");
  EXPECT_EQ(error(R"(  - train: {name: baseline}
  - sensitivity
  - prune: {name: cut, keep_macs: [0.6, 0.4]}
  - sensitivity: {name: again, from: cut}
  - prune: {name: more, sensitivity: again, keep_macs: [0.5, 0.3]}
)"),
            "r.yaml:8: stages.4.prune: reads 'again', which stands for several stages, and has a list of its "
            "own; name one of them: {sensitivity: again_60}");
}

TEST(Rounds, AreCutsTrainingsAndCurves) {
  const Recipe r = recipe(R"(  - train: {name: baseline, epochs: 9}
  - sensitivity: {images: 50}
  - prune: {name: cut, keep_parameters: 0.3, rounds: 3, round_epochs: 2, max_ratio: 0.8}
  - train: {name: pruned}
)");
  EXPECT_EQ(names(r), (Names{"baseline", "sensitivity", "cut_round1", "cut_retrained1", "cut_sensitivity2",
                             "cut_round2", "cut_retrained2", "cut_sensitivity3", "cut", "pruned"}));
  EXPECT_NEAR(r.find("cut_round1")->options.at("keep_parameters").get<double>(), std::cbrt(0.3), 1e-12);
  EXPECT_NEAR(r.find("cut_round2")->options.at("keep_parameters").get<double>(), std::cbrt(0.09), 1e-12);
  EXPECT_EQ(r.find("cut")->options.at("keep_parameters"), 0.3);
  for (const char* cut : {"cut_round1", "cut_round2", "cut"}) {
    EXPECT_EQ(r.find(cut)->options.at("share_of"), "baseline");
    EXPECT_EQ(r.find(cut)->options.at("max_ratio"), 0.8);
  }
  EXPECT_EQ(r.find("cut_round1")->from, "baseline");
  EXPECT_EQ(r.find("cut_retrained1")->from, "cut_round1");
  EXPECT_EQ(r.find("cut_retrained1")->options.at("epochs"), 2);
  EXPECT_EQ(r.find("cut_sensitivity2")->from, "cut_retrained1");
  EXPECT_EQ(r.find("cut_sensitivity2")->options.at("images"), 50);
  EXPECT_EQ(r.find("cut_round2")->options.at("sensitivity"), "cut_sensitivity2");
  EXPECT_EQ(r.find("cut_round2")->from, "cut_retrained1");
  EXPECT_EQ(r.find("cut")->options.at("sensitivity"), "cut_sensitivity3");
  EXPECT_EQ(r.find("pruned")->from, "cut");
}

TEST(Rounds, GoWithTargets) {
  const Recipe r = recipe(R"(  - train: {name: baseline}
  - sensitivity
  - prune: {name: cut, keep_macs: [0.5, 0.25], rounds: 2}
  - train: {name: pruned}
)");
  EXPECT_EQ(names(r), (Names{"baseline", "sensitivity", "cut_50_round1", "cut_50_retrained1",
                             "cut_50_sensitivity2", "cut_50", "cut_25_round1", "cut_25_retrained1",
                             "cut_25_sensitivity2", "cut_25", "pruned_50", "pruned_25"}));
  EXPECT_EQ(r.find("cut_25_round1")->from, "baseline");
  EXPECT_EQ(r.find("cut_25_round1")->options.at("sensitivity"), "sensitivity");
}

TEST(Rounds, WhatCannotBeCutInRounds) {
  const auto with = [](const std::string& keys) {
    return error("  - train: {name: baseline}\n  - sensitivity\n  - prune: {" + keys + "}\n");
  };
  EXPECT_EQ(with("tolerance: 0.1, rounds: 2"),
            "r.yaml:6: stages.2.prune.rounds: needs a share to keep; give keep_macs, keep_parameters or "
            "keep_bytes");
  EXPECT_EQ(with("keep_macs: 0.5, rounds: 0"),
            "r.yaml:6: stages.2.prune.rounds: is 0; it must be a number of rounds, 1 to 20");
  EXPECT_EQ(with("keep_macs: 0.5, round_epochs: 2"),
            "r.yaml:6: stages.2.prune.round_epochs: is for pruning in rounds; say rounds: 2 or more");
  EXPECT_EQ(with("keep_macs: 0.5, rounds: 2, round_epochs: 0"),
            "r.yaml:6: stages.3.train.epochs: is 0; it must be in [1, 100000]");
  EXPECT_EQ(with("latency_ms: 5, share_of: baseline"),
            "r.yaml:6: stages.2.prune.share_of: is for keep_macs, keep_parameters and keep_bytes");
  EXPECT_EQ(error("  - train: {name: baseline}\n  - train: {rounds: 2}\n").substr(0, 41),
            "r.yaml:5: stages.1.train.rounds: unknown ");
}

}  // namespace
}  // namespace espalier
