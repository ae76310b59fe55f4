#include "kernels/autotuner.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <set>
#include <utility>

#include "support/temporary_directory.h"

namespace espalier::test {
namespace {

using kernels::Autotuner;
using kernels::Candidate;
using kernels::Likeness;

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

Likeness right(const Candidate&, const Candidate&) { return Likeness::kAlike; }

TEST(Autotuner, RunsTheFastestAndTimesOnce) {
  Race race{{{"a", 3.0f}, {"b", 1.0f}, {"c", -1.0f}, {"d", 2.0f}}};
  Autotuner tuner("", "card", race.timer());
  const auto all = race.candidates({"a", "b", "c", "d"});
  tuner.tune({1, 2}, all, right);
  EXPECT_EQ(race.timed, 4);
  EXPECT_TRUE(tuner.run({1, 2}, all));
  EXPECT_EQ(race.ran, "b");
  race.times["b"] = 9;
  EXPECT_TRUE(tuner.run({1, 2}, all));
  EXPECT_EQ(race.ran, "b");
  EXPECT_EQ(race.timed, 4);
  tuner.tune({1, 3}, all, right);
  EXPECT_TRUE(tuner.run({1, 3}, all));
  EXPECT_EQ(race.ran, "d");
}

TEST(Autotuner, OnesWithOtherResultsThanTheGeneralOnesArePassedOver) {
  Race race{{{"a", 1.0f}, {"b", 2.0f}, {"general", 3.0f}, {"c", 4.0f}}};
  auto all = race.candidates({"a", "b", "general", "c"});
  std::vector<std::string> judged;
  const auto wrong = [&](const std::set<std::string>& names) {
    return [&judged, names](const Candidate& general, const Candidate& other) {
      EXPECT_STREQ(general.name, "general");
      judged.emplace_back(other.name);
      return names.contains(other.name) ? Likeness::kDifferent : Likeness::kAlike;
    };
  };
  Autotuner tuner("", "card", race.timer());
  tuner.tune({1}, all, wrong({"a", "b"}));  // nobody is general
  EXPECT_EQ(tuner.answer({1}), "a");
  EXPECT_TRUE(judged.empty());
  all[2].general = true;
  tuner.tune({2}, all, wrong({"a"}));
  EXPECT_EQ(tuner.answer({2}), "b");
  EXPECT_EQ(judged, (std::vector<std::string>{"a", "b"}));
  tuner.tune({3}, all, wrong({"a", "b", "c"}));
  EXPECT_EQ(tuner.answer({3}), "general");
  race.times["general"] = -1;  // not of this problem
  tuner.tune({4}, all, wrong({"a"}));
  EXPECT_EQ(tuner.answer({4}), "a");
}

TEST(Autotuner, NothingIsTimedWhileThatIsOff) {
  Race race{{{"a", 3.0f}, {"b", 1.0f}}};
  Autotuner tuner("", "card", race.timer());
  tuner.tune({1}, race.candidates({"a", "b"}), right);
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
  Autotuner tuner("", "card", race.timer());
  EXPECT_TRUE(tuner.run({1}, race.candidates({"a", "b", "c"})));
  EXPECT_EQ(race.ran, "b");
  EXPECT_EQ(race.timed, 0);
  EXPECT_EQ(tuner.answer({1}), "");
  EXPECT_FALSE(tuner.run({1}, race.candidates({"a"})));
  tuner.tune({1}, race.candidates({"a"}), right);
  EXPECT_EQ(tuner.answer({1}), "");
}

TEST(Autotuner, TheFileOutlivesTheProcess) {
  const TemporaryDirectory directory;
  const std::string path = (directory.path() / "tuning.txt").string();
  Race race{{{"a", 2.0f}, {"b", 1.0f}}};
  const auto all = race.candidates({"a", "b"});
  Autotuner(path, "card", race.timer()).tune({7, -1, 3}, all, right);
  Autotuner again(path, "card", race.timer());
  EXPECT_EQ(again.answer({7, -1, 3}), "b");
  EXPECT_TRUE(again.run({7, -1, 3}, all));
  EXPECT_EQ(race.timed, 2);
  // A build without candidate b does with what it has.
  EXPECT_TRUE(again.run({7, -1, 3}, race.candidates({"a"})));
  EXPECT_EQ(race.ran, "a");
}

/// Other kernels, or another card, are timed again.
TEST(Autotuner, AFileHoldsForWhatItWasMadeFor) {
  const TemporaryDirectory directory;
  const std::string path = (directory.path() / "tuning.txt").string();
  Race race{{{"a", 2.0f}, {"b", 1.0f}}};
  const auto all = race.candidates({"a", "b"});
  Autotuner(path, "card, kernels 1", race.timer()).tune({1}, all, right);
  EXPECT_EQ(Autotuner(path, "card, kernels 1", race.timer()).answer({1}), "b");
  Autotuner later(path, "card, kernels 2", race.timer());
  EXPECT_TRUE(later.asks_for({1}));
  later.tune({2}, all, right);
  EXPECT_EQ(Autotuner(path, "card, kernels 2", race.timer()).answer({1}), "");
  EXPECT_EQ(Autotuner(path, "card, kernels 2", race.timer()).answer({2}), "b");
}

TEST(Autotuner, WhatCouldNotBeJudgedIsNotSaved) {
  const TemporaryDirectory directory;
  const std::string path = (directory.path() / "tuning.txt").string();
  Race race{{{"a", 1.0f}, {"general", 2.0f}}};
  auto all = race.candidates({"a", "general"});
  all[1].general = true;
  Autotuner tuner(path, "card", race.timer());
  tuner.tune({1}, all, [](const Candidate&, const Candidate&) { return Likeness::kUnknown; });
  tuner.tune({2}, all, right);
  EXPECT_EQ(tuner.answer({1}), "a");
  EXPECT_FALSE(tuner.asks_for({1}));
  const Autotuner next(path, "card", race.timer());
  EXPECT_TRUE(next.asks_for({1}));
  EXPECT_EQ(next.answer({2}), "a");
}

/// Whatever its own file says and its own clock would, and without a trace in the file.
TEST(Autotuner, AnotherProcessTakesTheSame) {
  const TemporaryDirectory directory;
  const std::string path = (directory.path() / "tuning.txt").string();
  Race race{{{"a", 2.0f}, {"b", 1.0f}}};
  const auto all = race.candidates({"a", "b"});
  Autotuner first("", "card", race.timer());
  EXPECT_EQ(first.taken(), "");
  for (const int problem : {1, 2, 3}) first.tune({problem}, all, right);
  EXPECT_TRUE(first.run({1}, all) && first.run({3}, all));
  const std::string taken = first.taken();

  race.times = {{"a", 1.0f}, {"b", 2.0f}};
  Autotuner second(path, "card", race.timer());
  second.tune({1}, all, right);
  EXPECT_TRUE(second.take_over(taken));
  for (const int problem : {1, 3}) {
    EXPECT_FALSE(second.asks_for({problem}));
    EXPECT_TRUE(second.run({problem}, all));
    EXPECT_EQ(race.ran, "b") << problem;
  }
  EXPECT_TRUE(second.asks_for({2})) << "it was timed, and never taken";
  EXPECT_EQ(second.taken(), taken);
  second.tune({4}, all, right);
  const Autotuner third(path, "card", race.timer());
  EXPECT_EQ(third.answer({1}), "a");
  EXPECT_TRUE(third.asks_for({3}));

  Autotuner elsewhere("", "another card", race.timer());
  EXPECT_FALSE(elsewhere.take_over(taken));
  EXPECT_TRUE(elsewhere.asks_for({1}));
}

TEST(Autotuner, ProgramsThatRunTogetherKeepWhatEachFound) {
  const TemporaryDirectory directory;
  const std::string path = (directory.path() / "tuning.txt").string();
  Race race{{{"a", 2.0f}, {"b", 1.0f}}};
  const auto all = race.candidates({"a", "b"});
  Autotuner one(path, "card", race.timer()), other(path, "card", race.timer());
  one.tune({1}, all, right);
  other.tune({2}, all, right);
  const Autotuner next(path, "card", race.timer());
  EXPECT_EQ(next.answer({1}), "b");
  EXPECT_EQ(next.answer({2}), "b");
  EXPECT_TRUE(other.asks_for({1})) << "what it began with holds to its end";
}

/// A process may write files of so many bytes only, so that a large one cannot be finished.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FullDisk(const FullDisk&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

/// What goes to standard error, through a pipe: a file would be on the full disk too.
class StandardError {
 public:
  StandardError() : before_(dup(STDERR_FILENO)) {
    if (pipe(ends_) == 0) dup2(ends_[1], STDERR_FILENO);
  }
  ~StandardError() { text(); }
  StandardError(const StandardError&) = delete;

  /// All of it, and no more is taken. For less than a pipe holds.
  const std::string& text() {
    if (before_ < 0) return text_;
    dup2(before_, STDERR_FILENO);
    for (const int end : {ends_[1], std::exchange(before_, -1)}) close(end);
    char part[4096];
    for (ssize_t n; (n = read(ends_[0], part, sizeof part)) > 0;) text_.append(part, static_cast<size_t>(n));
    close(ends_[0]);
    return text_;
  }

 private:
  int before_, ends_[2] = {-1, -1};
  std::string text_;
};

TEST(Autotuner, AFileThatCannotBeFinishedLeavesTheOldOneAndIsSaidOnce) {
  const TemporaryDirectory directory;
  const std::string path = (directory.path() / "tuning.txt").string();
  Race race{{{"a", 1.0f}}};
  const auto all = race.candidates({"a"});
  Autotuner tuner(path, "card", race.timer());
  tuner.tune({1}, all, right);
  StandardError error;
  {
    const FullDisk full(4);
    for (const int problem : {2, 3}) tuner.tune({problem}, all, right);
  }
  const std::string said = error.text();
  EXPECT_NE(said.find(path + ": cannot be written"), std::string::npos) << said;
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  EXPECT_EQ(Autotuner(path, "card", race.timer()).answer({1}), "a");
  EXPECT_EQ(tuner.answer({3}), "a");
  for (const auto& entry : std::filesystem::directory_iterator(directory.path()))
    EXPECT_EQ(entry.path().string(), path) << "something is left behind";
}

TEST(Autotuner, DamagedFilesAreAsGoodAsNone) {
  const TemporaryDirectory directory;
  const std::string path = (directory.path() / "tuning.txt").string();
  std::ofstream(path) << "# fastest kernels of card\na 1 2\n\nb one 2\nc\nd 5 x\nb 3 4\n";
  Race race{{{"a", 1.0f}}};
  const Autotuner tuner(path, "card", race.timer());
  EXPECT_EQ(tuner.answer({1, 2}), "a");
  EXPECT_EQ(tuner.answer({3, 4}), "b");
  EXPECT_EQ(tuner.answer({5}), "");
  Autotuner nowhere("/nonexistent/folder/tuning.txt", "card", race.timer());
  nowhere.tune({1}, race.candidates({"a"}), right);
  EXPECT_EQ(nowhere.answer({1}), "a");
}

}  // namespace
}  // namespace espalier::test
