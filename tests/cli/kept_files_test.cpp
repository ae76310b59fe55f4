// What a user has is not destroyed by a command that means something else.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "command_line.h"
#include "io/file.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using test::run;

/// A trained model and its curves.
struct KeptFilesTest : testing::Test {
  static void SetUpTestSuite() {
    folder = new test::Folder;
    ASSERT_EQ(run({"data", "make", *folder / "data", "--classes", "3", "--train", "16", "--val", "10",
                   "--test", "0", "--size", "36"})
                  .code,
              kOk);
    first = train({});
    ASSERT_EQ(first.code, kOk) << first.err;
    fs::copy(*folder / "run/train/model.safetensors", model());
    const test::Ran curves = run({"sensitivity", model(), "--data", data(), "--out", *folder / "s.json",
                                  "--ratios", "0.5", "--include", "block2*"});
    ASSERT_EQ(curves.code, kOk) << curves.err;
  }
  static void TearDownTestSuite() { delete folder; }

  static std::string data() { return *folder / "data"; }
  static std::string model() { return *folder / "model.safetensors"; }

  static test::Ran train(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {
        "train", "--data", data(),         "--out", *folder / "run",   "--epochs",
        "1",     "--set",  "data.size=32", "--set", "model.width=0.25"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }

  /// The command fails in one line that says so, and the file is as it was.
  static void expect_kept(const std::string& file, const std::vector<std::string>& arguments,
                          const std::string& message) {
    const std::string before = read_file(file);
    const test::Ran ran = run(arguments);
    EXPECT_EQ(ran.code, kBadInput) << ran.out;
    EXPECT_NE(ran.err.find(message), std::string::npos) << ran.err;
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
    EXPECT_EQ(read_file(file), before);
  }

  static inline test::Folder* folder;
  static inline test::Ran first;
};

TEST_F(KeptFilesTest, AnInputIsNoOutput) {
  const std::string curves = *folder / "s.json", same = "is the model that is read; name another one";
  expect_kept(model(), {"quantize", model(), "--data", data(), "--out", model()}, same);
  expect_kept(model(),
              {"quantize", model(), "--data", data(), "--out", *folder / "data/../model.safetensors"}, same);
  expect_kept(model(), {"sensitivity", model(), "--data", data(), "--out", model()}, same);
  const std::vector<std::string> prune = {"prune", model(), "--sensitivity", curves, "--keep-macs", "0.9"};
  const auto to = [&](const std::string& out) {
    std::vector<std::string> arguments = prune;
    arguments.insert(arguments.end(), {"--out", out});
    return arguments;
  };
  expect_kept(model(), to(model()), same);
  expect_kept(curves, to(curves), "is the file of sensitivities that is read");
  fs::copy(curves, *folder / "cut.selection.json");
  std::vector<std::string> beside = to(*folder / "cut.safetensors");
  beside[3] = *folder / "cut.selection.json";
  expect_kept(beside[3], beside, "is the file of sensitivities that is read");
  const std::string trained = *folder / "run/train/model.safetensors";
  expect_kept(trained, {"train", "--data", data(), "--from", trained, "--out", *folder / "run"},
              "which is read; name another one");
}

TEST_F(KeptFilesTest, AFinishedTrainingIsTakenBackAfterOthers) {
  const std::string trained = *folder / "run/train/model.safetensors", before = read_file(trained);
  const test::Ran refused = train({"--batch", "500"});
  EXPECT_EQ(refused.code, kBadInput);
  EXPECT_NE(refused.err.find("--batch 500: "), std::string::npos) << refused.err;
  EXPECT_EQ(read_file(trained), before);
  EXPECT_FALSE(fs::exists(*folder / "run/train.old")) << "nothing was put aside for it";
  ASSERT_EQ(train({"--batch", "16"}).code, kOk);
  EXPECT_EQ(read_file(*folder / "run/train.old/model.safetensors"), before);
  const test::Ran again = train({});
  ASSERT_EQ(again.code, kOk) << again.err;
  EXPECT_EQ(again.out, first.out);
  EXPECT_EQ(read_file(trained), before);
  EXPECT_TRUE(fs::exists(*folder / "run/train.old/model.safetensors"));
}

}  // namespace
}  // namespace espalier
