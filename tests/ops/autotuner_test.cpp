#include "kernels/autotuner.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support/temporary_directory.h"

namespace espalier::test {
namespace {

using kernels::Autotuner;
using kernels::Candidate;

/// Candidates that note who ran, and a clock that says what the test wants.
struct Race {
  std::map<std::string, float> times;
  std::string ran;
  int timed = 0;

  std::vector<Candidate> candidates(std::initializer_list<const char*> names) {
    std::vector<Candidate> all;
    for (const char* name : names)
      all.push_back({name, [this, name] {
                       if (times.at(name) < 0) return false;
                       ran = name;
                       return true;
                     }});
    return all;
  }
  Autotuner::Timer timer() {
    return [this](const Candidate& c) {
      ++timed;
      return times.at(c.name);
    };
  }
};

TEST(Autotuner, RunsTheFastestAndTimesOnce) {
  Race race{{{"a", 3.0f}, {"b", 1.0f}, {"c", -1.0f}, {"d", 2.0f}}};
  Autotuner tuner("", race.timer());
  const auto all = race.candidates({"a", "b", "c", "d"});
  tuner.tune({1, 2}, all);
  EXPECT_EQ(race.timed, 4);
  EXPECT_TRUE(tuner.run({1, 2}, all));
  EXPECT_EQ(race.ran, "b");
  race.times["b"] = 9;
  EXPECT_TRUE(tuner.run({1, 2}, all));
  EXPECT_EQ(race.ran, "b");
  EXPECT_EQ(race.timed, 4);
  tuner.tune({1, 3}, all);
  EXPECT_TRUE(tuner.run({1, 3}, all));
  EXPECT_EQ(race.ran, "d");
}

TEST(Autotuner, NothingIsTimedWhileThatIsOff) {
  Race race{{{"a", 3.0f}, {"b", 1.0f}}};
  Autotuner tuner("", race.timer());
  tuner.tune({1}, race.candidates({"a", "b"}));
  EXPECT_FALSE(tuner.asks_for({1}));
  EXPECT_TRUE(tuner.asks_for({2}));
  {
    const kernels::Untimed outer;
    { const kernels::Untimed inner; }
    EXPECT_FALSE(tuner.asks_for({2}));
  }
  EXPECT_TRUE(tuner.asks_for({2}));
}

TEST(Autotuner, WithoutTimingTheFirstThatTakesTheProblem) {
  Race race{{{"a", -1.0f}, {"b", 5.0f}, {"c", 1.0f}}};
  Autotuner tuner("", race.timer());
  EXPECT_TRUE(tuner.run({1}, race.candidates({"a", "b", "c"})));
  EXPECT_EQ(race.ran, "b");
  EXPECT_EQ(race.timed, 0);
  EXPECT_EQ(tuner.answer({1}), "");
  EXPECT_FALSE(tuner.run({1}, race.candidates({"a"})));
  tuner.tune({1}, race.candidates({"a"}));
  EXPECT_EQ(tuner.answer({1}), "");
}

TEST(Autotuner, TheFileOutlivesTheProcess) {
  const TemporaryDirectory directory;
  const std::string path = (directory.path() / "tuning.txt").string();
  Race race{{{"a", 2.0f}, {"b", 1.0f}}};
  const auto all = race.candidates({"a", "b"});
  Autotuner(path, race.timer()).tune({7, -1, 3}, all);
  Autotuner again(path, race.timer());
  EXPECT_EQ(again.answer({7, -1, 3}), "b");
  EXPECT_TRUE(again.run({7, -1, 3}, all));
  EXPECT_EQ(race.timed, 2);
  // A build without candidate b does with what it has.
  EXPECT_TRUE(again.run({7, -1, 3}, race.candidates({"a"})));
  EXPECT_EQ(race.ran, "a");
}

TEST(Autotuner, DamagedFilesAreAsGoodAsNone) {
  const TemporaryDirectory directory;
  const std::string path = (directory.path() / "tuning.txt").string();
  std::ofstream(path) << "a 1 2\n\nb one 2\nc\nd 5 x\nb 3 4\n";
  Race race{{{"a", 1.0f}}};
  const Autotuner tuner(path, race.timer());
  EXPECT_EQ(tuner.answer({1, 2}), "a");
  EXPECT_EQ(tuner.answer({3, 4}), "b");
  EXPECT_EQ(tuner.answer({5}), "");
  Autotuner nowhere("/nonexistent/folder/tuning.txt", race.timer());
  nowhere.tune({1}, race.candidates({"a"}));
  EXPECT_EQ(nowhere.answer({1}), "a");
}

}  // namespace
}  // namespace espalier::test
