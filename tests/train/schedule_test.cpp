#include "optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "train/early_stop.h"

namespace espalier {
namespace {

TEST(ScheduleTest, PiecewiseFallsAtItsBoundaries) {
  // The reference's tutorial: 10 epochs, falls after 4, 6 and 8.
  const Schedule s({.name = "piecewise", .rate = 0.025, .at = {4, 6, 8}, .gamma = 0.1}, 7, 10);
  EXPECT_DOUBLE_EQ(s.rate(0), 0.025);
  EXPECT_DOUBLE_EQ(s.rate(4 * 7 - 1), 0.025);
  EXPECT_DOUBLE_EQ(s.rate(4 * 7), 0.0025);
  EXPECT_DOUBLE_EQ(s.rate(6 * 7), 0.00025);
  EXPECT_DOUBLE_EQ(s.rate(69), 0.000025);
}

TEST(ScheduleTest, UnitsAreStepsEpochsAndSharesOfTheRun) {
  for (const auto& [at, unit] : {std::pair{35.0, TimeUnit::kSteps}, std::pair{5.0, TimeUnit::kEpochs},
                                 std::pair{0.5, TimeUnit::kRun}}) {
    const Schedule s({.name = "piecewise", .rate = 1, .at = {at}, .at_unit = unit, .gamma = 0.5}, 7, 10);
    EXPECT_DOUBLE_EQ(s.rate(34), 1);
    EXPECT_DOUBLE_EQ(s.rate(35), 0.5);
  }
}

TEST(ScheduleTest, WarmUpIsLinearFromItsStart) {
  // The reference's detector: 1000 steps from 0.
  const Schedule s({.name = "piecewise",
                    .rate = 0.000125,
                    .at = {213, 240},
                    .warmup = 1000,
                    .warmup_unit = TimeUnit::kSteps},
                   20, 270);
  EXPECT_EQ(s.rate(0), 0);
  EXPECT_DOUBLE_EQ(s.rate(1), 0.000125 / 1000);
  EXPECT_DOUBLE_EQ(s.rate(250), 0.000125 / 4);
  EXPECT_DOUBLE_EQ(s.rate(1000), 0.000125);
  const Schedule half({.name = "constant", .rate = 2, .warmup = 1.5, .warmup_start = 0.5}, 4, 3);
  EXPECT_DOUBLE_EQ(half.rate(0), 1);
  EXPECT_DOUBLE_EQ(half.rate(3), 1.5);
  EXPECT_DOUBLE_EQ(half.rate(6), 2);
  EXPECT_DOUBLE_EQ(half.rate(11), 2);
}

TEST(ScheduleTest, PolynomialIsTheReferences) {
  const Schedule s({.name = "polynomial", .rate = 0.01, .power = 0.9}, 5, 20);
  for (const int step : {0, 1, 50, 99})
    EXPECT_DOUBLE_EQ(s.rate(step), 0.01 * std::pow(1 - step / 100.0, 0.9));
  const Schedule end({.name = "polynomial", .rate = 1, .power = 1, .end = 0.2}, 5, 2);
  EXPECT_DOUBLE_EQ(end.rate(5), 0.2 + 0.8 * 0.5);
}

TEST(ScheduleTest, CosineFallsAfterTheWarmUp) {
  const Schedule s({.name = "cosine", .rate = 0.1, .warmup = 1}, 10, 5);
  EXPECT_DOUBLE_EQ(s.rate(5), 0.05);
  EXPECT_DOUBLE_EQ(s.rate(10), 0.1);
  EXPECT_DOUBLE_EQ(s.rate(30), 0.05);
  EXPECT_DOUBLE_EQ(s.rate(40), 0.1 * (1 + std::cos(0.75 * std::numbers::pi)) / 2);
  EXPECT_GT(s.rate(49), 0);
}

std::string complaint(const ScheduleOptions& o, int64_t steps = 10, int64_t epochs = 10) {
  try {
    const Schedule s(o, steps, epochs);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(ScheduleTest, ImpossibleValuesAreErrors) {
  const auto says = [](const std::string& message, const char* part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  EXPECT_EQ(complaint({.at = {30, 60, 90}}), "");  // past the end of a short run: never comes
  EXPECT_EQ(complaint({.at = {1}, .warmup = 10, .warmup_unit = TimeUnit::kSteps}), "");
  says(complaint({.name = "step"}), "known are constant, piecewise");
  says(complaint({.rate = 0}), "learning rate is 0");
  says(complaint({.rate = NAN}), "learning rate is nan");
  says(complaint({.at = {3, 3}}), "boundary 1 is at 3 epochs");
  says(complaint({.at = {0}}), "boundary 0 is at 0 epochs");
  says(complaint({.at = {4}, .gamma = 0}), "gamma is 0");
  says(complaint({.name = "cosine", .at = {4}}), "belongs to piecewise");
  says(complaint({.name = "cosine", .end = 1.5}), "end is 1.5");
  says(complaint({.name = "polynomial", .power = -1}), "power is -1");
  says(complaint({.at = {1}, .warmup = 11, .warmup_unit = TimeUnit::kSteps}), "falls first at step 10");
  says(complaint({.name = "constant", .warmup = 101, .warmup_unit = TimeUnit::kSteps}),
       "lasts 101 steps but the run only 100");
  says(complaint({.name = "constant", .warmup = 11}), "warmup_epochs is 11 but epochs is 10");
  says(complaint({.at = {1}, .warmup = 2}), "warmup_epochs is 2 but the rate falls first after 1 epochs");
  says(complaint({.warmup = -1}), "cannot be negative");
  says(complaint({.warmup_start = 2}), "warmup_start is 2");
  says(complaint({}, 0), "at least 1");
}

TEST(EarlyStopTest, CountsEvaluationsWithoutANewBest) {
  EarlyStop stop({.patience = 2, .threshold = 0.01});
  EXPECT_FALSE(stop.update(0.5));
  EXPECT_FALSE(stop.update(0.505));  // less than the threshold: waits
  EXPECT_FALSE(stop.update(0.52));
  EXPECT_FALSE(stop.update(0.1));
  EXPECT_TRUE(stop.update(0.515));  // rises, but below the best: the reference would go on
}

TEST(EarlyStopTest, WithoutPatienceItNeverStops) {
  EarlyStop stop({});
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(stop.update(0));
}

}  // namespace
}  // namespace espalier
