// Pruning in rounds through the command line: what it leaves, and that no kill changes it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include "base/random.h"
#include "command_line.h"
#include "graph/cost.h"
#include "io/file.h"
#include "io/model_file.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using test::run;

constexpr const char* kRounds = R"(model: {name: mobilenet_v2, width: 0.25}
data: {root: DATA, size: 32, batch: 16, make: {classes: 3, train: 16, val: 10, test: 0, size: 36}}
threads: 1
training:
  epochs: 1
  optimizer: {lr: 0.01}
stages:
  - train: {name: baseline}
  - sensitivity: {ratios: [0.3, 0.6], images: 8, stop_loss: 1}
  - prune: {name: cut, keep_macs: 0.5, rounds: 3, round_epochs: 2, min_channels: 4, keep_multiple_of: 4, recalibrate: 2}
  - bench: {seconds: 0.01, rounds: 1, batch: 2}
)";

struct RoundsTest : testing::Test {
  static void SetUpTestSuite() {
    folder = new test::Folder;
    std::string text = kRounds;
    text.replace(text.find("DATA"), 4, *folder / "data");
    recipe = *folder / "rounds.yaml";
    std::ofstream(recipe) << text;
    whole = run({"run", recipe, "--out", *folder / "whole", "--json"});
  }
  static void TearDownTestSuite() { delete folder; }
  static Model model(const std::string& file) { return load_model(*folder / file); }

  static inline test::Folder* folder;
  static inline std::string recipe;
  static inline test::Ran whole;
};

TEST_F(RoundsTest, EachCutsByTheSameFactorAndIsTrained) {
  ASSERT_EQ(whole.code, kOk) << whole.err;
  const auto macs = [](const std::string& stage) {
    return static_cast<double>(cost(model("whole/" + stage + "/model.safetensors").graph).macs);
  };
  const double all = macs("baseline");
  const double first = macs("cut_round1"), second = macs("cut_round2"), last = macs("cut");
  EXPECT_LE(first, all * std::pow(0.5, 1 / 3.0));
  EXPECT_LE(second, all * std::pow(0.5, 2 / 3.0));
  EXPECT_LE(last, all * 0.5);
  EXPECT_GE(first, second);
  EXPECT_GE(second, last);
  EXPECT_EQ(macs("cut_retrained2"), second);
  EXPECT_NE(model("whole/cut_retrained2/model.safetensors").graph.hash(),
            model("whole/cut_round2/model.safetensors").graph.hash());
}

// The process that KilledAtAnyMoment kills.
TEST(KilledRounds, DISABLED_Child) {
  const char* words = std::getenv("ESPALIER_KILLED_ROUNDS");
  ASSERT_NE(words, nullptr);
  const std::string folder = words;
  EXPECT_EQ(run({"run", folder + "/rounds.yaml", "--out", folder + "/killed"}).code, kOk);
}

TEST_F(RoundsTest, KilledAtAnyMoment) {
  ASSERT_EQ(whole.code, kOk) << whole.err;
  ::setenv("ESPALIER_KILLED_ROUNDS", folder->path().c_str(), 1);
  const char* arguments[] = {"test_cli", "--gtest_filter=KilledRounds.DISABLED_Child",
                             "--gtest_also_run_disabled_tests", nullptr};
  posix_spawn_file_actions_t silent;
  posix_spawn_file_actions_init(&silent);
  posix_spawn_file_actions_addopen(&silent, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&silent, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  Random random(1, Purpose::kTest);
  int killed = 0;
  bool ended = false;
  constexpr int kEnough = 25, kMost = 100;  // more where a busy machine has not come to the rounds by then
  for (int attempt = 0; !ended && (attempt < kEnough || (killed == 0 && attempt < kMost)); ++attempt) {
    pid_t child = 0;
    ASSERT_EQ(
        ::posix_spawn(&child, "/proc/self/exe", &silent, nullptr, const_cast<char**>(arguments), environ), 0);
    // A slow machine needs longer to come anywhere.
    ::usleep(static_cast<useconds_t>(random.uniform(2e4, 25e4) * (1 + attempt / 8.0)));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    killed += WIFSIGNALED(status) && fs::exists(*folder / "killed/cut_round1");
    ended = WIFEXITED(status);
    if (ended) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
    }
  }
  posix_spawn_file_actions_destroy(&silent);
  ::unsetenv("ESPALIER_KILLED_ROUNDS");
  EXPECT_GT(killed, 0) << "no kill came within the rounds";
  ASSERT_EQ(run({"run", recipe, "--out", *folder / "killed"}).code, kOk);
  for (const std::string stage : {"cut_round1", "cut_retrained1", "cut_round2", "cut_retrained2", "cut"})
    EXPECT_EQ(model("killed/" + stage + "/model.safetensors").graph.hash(),
              model("whole/" + stage + "/model.safetensors").graph.hash())
        << stage;
  EXPECT_EQ(Json::parse(read_file(*folder / "killed/cut/selection.json")),
            Json::parse(read_file(*folder / "whole/cut/selection.json")));
}

}  // namespace
}  // namespace espalier
