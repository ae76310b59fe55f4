// A run that is stopped in any way and called again ends with the bits of one that never stopped.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "io/file.h"
#include "support/messages.h"
#include "support/temporary_directory.h"
#include "train/checkpoint.h"
#include "train/tiny_training.h"

extern char** environ;

namespace espalier {
namespace {

using test::expect_says;
using test::message_of;

namespace fs = std::filesystem;
using test::run_tiny;
using test::tiny_options;

/// The options of every run below: a checkpoint after every second step, so that a kill loses little.
TrainOptions options_in(const fs::path& folder) {
  TrainOptions o = tiny_options(folder, 4);
  o.checkpoint_steps = 2;
  o.early_stop.patience = 50;
  return o;
}

struct Finished {
  std::string parameters, checkpoint, best;
};

Finished finished(const test::TinyRun& run, const fs::path& folder) {
  return {test::bytes_of(run.model.graph), read_file(folder / kCheckpointFile),
          read_file(folder / kBestFile)};
}

void expect_equal(const Finished& got, const Finished& want) {
  EXPECT_EQ(got.parameters == want.parameters, true) << "the parameters differ";
  EXPECT_EQ(got.checkpoint == want.checkpoint, true) << "the checkpoints differ";
  EXPECT_EQ(got.best == want.best, true) << "the best models differ";
}

struct Stopped : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using ResumeTest = test::SerialTest;

TEST_F(ResumeTest, ARunStoppedAnywhereEndsWithTheSameBits) {
  const test::TemporaryDirectory whole;
  const Finished want = finished(run_tiny(options_in(whole.path())), whole.path());
  // Before the first checkpoint, at one, between two, at an epoch's first and last step.
  for (const auto& [epoch, batch] : {std::pair{0, 1}, {0, 3}, {1, 0}, {1, 5}, {2, 2}, {3, 4}}) {
    SCOPED_TRACE(str("stopped at epoch ", epoch, ", batch ", batch));
    const test::TemporaryDirectory folder;
    EXPECT_THROW(run_tiny(options_in(folder.path()), 0.25f,
                          [&](int e, int64_t b) {
                            if (e == epoch && b == batch) throw Stopped("here");
                          }),
                 Stopped);
    const test::TinyRun run = run_tiny(options_in(folder.path()));
    EXPECT_EQ(run.result.resumed, epoch > 0 || batch > 1);
    EXPECT_EQ(run.result.epochs.size(), 4u);
    expect_equal(finished(run, folder.path()), want);
  }
}

TEST_F(ResumeTest, AdamWResumesToo) {
  const auto options = [](const fs::path& folder) {
    TrainOptions o = options_in(folder);
    o.optimizer = {.name = "adamw", .weight_decay = 0.01};
    o.schedule.rate = 0.01;
    o.ema = 0;
    return o;
  };
  const test::TemporaryDirectory whole, folder;
  const Finished want = finished(run_tiny(options(whole.path())), whole.path());
  EXPECT_THROW(run_tiny(options(folder.path()), 0.25f,
                        [](int e, int64_t b) {
                          if (e == 2 && b == 3) throw Stopped("here");
                        }),
               Stopped);
  expect_equal(finished(run_tiny(options(folder.path())), folder.path()), want);
}

TEST_F(ResumeTest, AFinishedRunReturnsAtOnce) {
  const test::TemporaryDirectory folder;
  const test::TinyRun first = run_tiny(options_in(folder.path()));
  const test::TinyRun again =
      run_tiny(options_in(folder.path()), 0.25f, [](int, int64_t) { FAIL() << "it trains again"; });
  EXPECT_EQ(test::bytes_of(first.model.graph), test::bytes_of(again.model.graph));
  EXPECT_EQ(again.result.best.value, first.result.best.value);
  EXPECT_EQ(again.result.best_epoch, first.result.best_epoch);
  EXPECT_EQ(again.result.last.loss, first.result.last.loss);
  EXPECT_EQ(again.result.steps, 24);
  EXPECT_TRUE(again.result.resumed);
}

TEST_F(ResumeTest, CtrlCSavesAndTheNextRunEndsWithTheSameBits) {
  const test::TemporaryDirectory whole;
  const Finished want = finished(run_tiny(options_in(whole.path())), whole.path());
  // The last one asks while the epoch's last picture is drawn, so that the evaluation is still to come.
  for (const auto& [epoch, batch] : {std::pair{0, 0}, {1, 2}, {2, 5}}) {
    const test::TemporaryDirectory folder;
    TrainOptions o = options_in(folder.path());
    o.checkpoint_steps = 0;
    std::string said;
    try {
      run_tiny(o, 0.25f, [&](int e, int64_t b) {
        if (e == epoch && b == batch) request_interrupt();
      });
    } catch (const Interrupted& e) {
      said = e.what();
    }
    request_interrupt(false);
    expect_says(said, str("epoch ", epoch + 1, ", step ", batch + 1));
    expect_says(said, "the same command continues");
    const test::TinyRun run = run_tiny(options_in(folder.path()));
    EXPECT_TRUE(run.result.resumed);
    expect_equal(finished(run, folder.path()), want);
  }
}

TEST_F(ResumeTest, CtrlCDuringAnEvaluationLosesNothing) {
  const test::TemporaryDirectory whole, folder;
  const Finished want = finished(run_tiny(options_in(whole.path())), whole.path());
  const auto task = make_task("classification", test::kTinyClasses, Json::object());
  Model model = test::tiny_model(1, 0.25f);
  test::TinySource data(6, 8, 1), eval(2, 16, 2);
  eval.same_every_epoch = true;
  int evaluations = 0;
  eval.before = [&](int, int64_t batch) {
    if (batch == 1 && ++evaluations == 2) request_interrupt();
  };
  TrainOptions o = options_in(folder.path());
  o.checkpoint_steps = 0;
  EXPECT_THROW(train(model, *task, data, eval, o), Interrupted);
  request_interrupt(false);
  expect_equal(finished(run_tiny(options_in(folder.path())), folder.path()), want);
}

TEST_F(ResumeTest, SignalsSetTheFlag) {
  watch_for_interrupts();
  EXPECT_FALSE(interrupt_requested());
  std::raise(SIGTERM);
  EXPECT_TRUE(interrupt_requested());
  request_interrupt(false);
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

// The process that KilledAtAnyMoment kills: trains in the folder that the environment names.
TEST_F(ResumeTest, DISABLED_ChildThatIsKilled) {
  const char* folder = std::getenv("ESPALIER_KILLED_TRAINING");
  ASSERT_NE(folder, nullptr);
  run_tiny(options_in(folder), 0.25f, [](int, int64_t) { ::usleep(1000); });
}

TEST_F(ResumeTest, KilledAtAnyMoment) {
  const test::TemporaryDirectory whole, folder;
  const Finished want = finished(run_tiny(options_in(whole.path())), whole.path());
  ::setenv("ESPALIER_KILLED_TRAINING", folder.path().c_str(), 1);
  const char* arguments[] = {"test_train", "--gtest_filter=ResumeTest.DISABLED_ChildThatIsKilled",
                             "--gtest_also_run_disabled_tests", nullptr};
  posix_spawn_file_actions_t silent;
  posix_spawn_file_actions_init(&silent);
  posix_spawn_file_actions_addopen(&silent, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  Random random(1, Purpose::kTest);
  int killed = 0;
  bool ended = false;
  for (int attempt = 0; attempt < 40 && !ended; ++attempt) {
    pid_t child = 0;
    ASSERT_EQ(
        ::posix_spawn(&child, "/proc/self/exe", &silent, nullptr, const_cast<char**>(arguments), environ), 0);
    // From the start of the process to about the whole of what is left; on a slow machine that takes longer.
    ::usleep(static_cast<useconds_t>(random.uniform(5e3, 60e3) * (1 + attempt / 8.0)));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    killed += WIFSIGNALED(status) && fs::exists(folder.path() / kCheckpointFile);
    ended = WIFEXITED(status);
    if (ended) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
    }
    // Whatever it was doing, what is there can be read.
    if (fs::exists(folder.path() / kCheckpointFile)) {
      EXPECT_NO_THROW(load_checkpoint(folder.path() / kCheckpointFile));
    }
  }
  posix_spawn_file_actions_destroy(&silent);
  ::unsetenv("ESPALIER_KILLED_TRAINING");
  EXPECT_GT(killed, 0) << "no kill came between the first checkpoint and the end";
  expect_equal(finished(run_tiny(options_in(folder.path())), folder.path()), want);
}

TEST_F(ResumeTest, AnUnwritableFolderLeavesThePreviousCheckpoint) {
  const test::TemporaryDirectory folder;
  TrainOptions o = options_in(folder.path());
  EXPECT_THROW(run_tiny(o, 0.25f,
                        [](int e, int64_t b) {
                          if (e == 1 && b == 3) throw Stopped("here");
                        }),
               Stopped);
  const std::string before = read_file(folder.path() / kCheckpointFile);
  // A limit on the size of files is met as a full disk is, also by root.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  rlimit small = old;
  small.rlim_cur = before.size() / 2;
  ::setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = message_of([&] { run_tiny(o); });
  ::setrlimit(RLIMIT_FSIZE, &old);
  expect_says(message, "cannot be written");
  expect_says(message, "the file that was there is untouched");
  EXPECT_EQ(read_file(folder.path() / kCheckpointFile), before);
  for (const auto& entry : fs::directory_iterator(folder.path()))
    EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos) << entry.path();
  const test::TemporaryDirectory whole;
  const Finished want = finished(run_tiny(options_in(whole.path())), whole.path());
  expect_equal(finished(run_tiny(o), folder.path()), want);
}

TEST_F(ResumeTest, AFolderThatCannotBeMadeIsSaidBeforeTraining) {
  const test::TemporaryDirectory folder;
  std::ofstream(folder.path() / "file") << "in the way";
  expect_says(message_of([&] { run_tiny(options_in(folder.path() / "file" / "run")); }), "cannot be made");
}

TEST_F(ResumeTest, AnotherNumberOfThreadsOrMachineIsSaid) {
  // What a run says that goes on from a checkpoint with that change.
  const auto log_after = [](const auto& change) {
    const test::TemporaryDirectory folder;
    EXPECT_THROW(run_tiny(options_in(folder.path()), 0.25f,
                          [](int e, int64_t b) {
                            if (e == 1 && b == 3) throw Stopped("here");
                          }),
                 Stopped);
    Checkpoint checkpoint = load_checkpoint(folder.path() / kCheckpointFile);
    EXPECT_EQ(checkpoint.machine, "cpu");
    EXPECT_EQ(checkpoint.kernels, "");
    change(checkpoint);
    save_checkpoint(folder.path() / kCheckpointFile, checkpoint);
    std::ostringstream lines;
    const auto before = spdlog::default_logger();
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines)));
    EXPECT_TRUE(run_tiny(options_in(folder.path())).result.resumed);
    spdlog::set_default_logger(before);
    expect_says(lines.str(), "training goes on at epoch 2 of 4, step 3 of 6");
    return lines.str();
  };
  EXPECT_EQ(log_after([](Checkpoint&) {}).find("differ"), std::string::npos);
  const std::string machine = log_after([](Checkpoint& c) { c.machine = "another card with bf16"; });
  expect_says(machine, "was written on another card with bf16, this is cpu; ");
  expect_says(machine, "may differ");
  const std::string kernels =
      log_after([](Checkpoint& c) { c.kernels = "# fastest kernels of another\na 1\n"; });
  expect_says(kernels, "other kernels or libraries");
  expect_says(kernels, "may differ in the last digits");
  const std::string threads = log_after([](Checkpoint& c) { c.threads = 3; });
  expect_says(threads, "written with 3 threads, now there are 1");
  expect_says(threads, "may differ");
}

TEST_F(ResumeTest, ACheckpointOfAnotherRunIsRefused) {
  const test::TemporaryDirectory folder;
  run_tiny(options_in(folder.path()));
  const auto complaint = [&](const auto& change) {
    TrainOptions o = options_in(folder.path());
    change(o);
    return message_of([&] { run_tiny(o); });
  };
  expect_says(complaint([](auto& o) { o.recipe_hash = 1; }), "recipe was");
  expect_says(complaint([](auto& o) { o.epochs = 9; }), "epochs was 4, is 9");
  expect_says(complaint([](auto& o) { o.seed = 9; }), "seed was 1, is 9");
  expect_says(complaint([](auto& o) { o.optimizer.name = "adamw"; }), "optimizer was");
  expect_says(message_of([&] { run_tiny(options_in(folder.path()), 0); }), "model was");
  const auto task = make_task("classification", test::kTinyClasses, Json::object());
  Model model = test::tiny_model(1, 0.25f);
  test::TinySource data(6, 8, 1), eval(2, 16, 2);
  data.hash_ = 8;
  expect_says(message_of([&] { train(model, *task, data, eval, options_in(folder.path())); }),
              "training data was");
}

TEST_F(ResumeTest, ACheckpointCutOrChangedAnywhereIsRefused) {
  const test::TemporaryDirectory folder;
  run_tiny(options_in(folder.path()));
  const fs::path path = folder.path() / kCheckpointFile;
  const std::string whole = read_file(path);
  const auto refused = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    return !message_of([&] { load_checkpoint(path); }).empty();
  };
  Random random(2, Purpose::kTest);
  for (int i = 0; i < 60; ++i)
    EXPECT_TRUE(refused(whole.substr(0, static_cast<size_t>(random.below(static_cast<int>(whole.size()))))));
  for (int i = 0; i < 60; ++i) {
    std::string changed = whole;
    changed[static_cast<size_t>(random.below(static_cast<int>(whole.size())))] ^= 0x10;
    EXPECT_TRUE(refused(changed));
  }
  EXPECT_FALSE(refused(whole));
}

TEST_F(ResumeTest, ProgressThatCannotBeIsRefused) {
  const test::TemporaryDirectory folder;
  run_tiny(options_in(folder.path()));
  const fs::path path = folder.path() / kCheckpointFile;
  const Checkpoint whole = load_checkpoint(path);
  const auto message = [&](const auto& edit) {
    Checkpoint edited = whole;
    edit(edited);
    save_checkpoint(path, edited);
    return message_of([&] { run_tiny(options_in(folder.path())); });
  };
  EXPECT_EQ(message([](Checkpoint&) {}), "");
  for (const char* key : {"epoch", "step", "step_in_epoch", "best_epoch"})
    for (const int value : {-2, 1000})
      if (key != std::string("step") || value < 0)
        expect_says(message([&](Checkpoint& c) { c.progress[key] = value; }),
                    path.string() + ": no training can stand where its progress says");
  const auto best = [](const Checkpoint& c) { return c.progress.at("best_epoch").get<size_t>(); };
  expect_says(message([&](Checkpoint& c) { c.progress["history"][best(c)]["metric"] = nullptr; }),
              "no training");
  expect_says(message([](Checkpoint& c) { c.progress["best_epoch"] = -1; }), "no training");
  expect_says(message([](Checkpoint& c) { c.progress["history"].erase(0); }), "no training");
  expect_says(message([](Checkpoint& c) { c.progress = Json::array(); }),
              path.string() + ": its progress is damaged");
  expect_says(message([](Checkpoint& c) { c.optimizer.pop_back(); }), path.string() + ": optimizer sgd");
  expect_says(message([](Checkpoint& c) { c.identity = 3; }), path.string() + ": its metadata is damaged");
}

TEST_F(ResumeTest, AModelFileIsNoCheckpoint) {
  const test::TemporaryDirectory folder;
  save_model(folder.path() / kCheckpointFile, test::tiny_model());
  expect_says(message_of([&] { run_tiny(options_in(folder.path())); }), "no checkpoint");
}

}  // namespace
}  // namespace espalier
