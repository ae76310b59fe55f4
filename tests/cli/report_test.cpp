// The page that a run leaves, and the commands that make it again: report, compare.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "command_line.h"
#include "io/file.h"
#include "support/browser.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using test::run;

constexpr const char* kTiny = R"(model: {name: mobilenet_v2, width: 0.25}
data: {root: DATA, size: 32, batch: 16, make: {classes: 3, train: 12, val: 10, test: 0, size: 36}}
training: {epochs: 1, optimizer: {lr: 0.01}}
stages:
  - train: {name: baseline}
  - sensitivity: {from: baseline, ratios: [0.3, 0.6], stop_loss: 1}
  - prune: {name: cut, keep_macs: 0.8, min_channels: 4, keep_multiple_of: 4}
  - train: {name: pruned}
  - int8: {name: int8, from: baseline, calibration_batches: 1}
  - bench: {seconds: 0.005, rounds: 1, batch: 2}
)";

/// One finished run for all tests here.
struct ReportTest : testing::Test {
  static void SetUpTestSuite() {
    folder = new test::Folder;
    out = *folder / "run";
    std::string text = kTiny;
    text.replace(text.find("DATA"), 4, *folder / "data");
    std::ofstream(*folder / "tiny.yaml") << text;
    first =
        run({"run", *folder / "tiny.yaml", "--out", out, "--json", "--seconds", "0.005", "--pictures", "12"});
  }
  static void TearDownTestSuite() { delete folder; }
  void SetUp() override { ASSERT_EQ(first.code, kOk) << first.err; }

  static inline test::Folder* folder = nullptr;
  static inline std::string out;
  static inline test::Ran first;
};

TEST_F(ReportTest, TheRunWritesAPageThatIsSoundInABrowser) {
  const std::string page = read_file(out + "/report.html");
  for (const char* part :
       {"\"tradeoffs\":[{", "\"examples\":{", "\"sensitivities\":[{", "\"cuts\":[{", "\"confusion\":[["})
    EXPECT_NE(page.find(part), std::string::npos) << part;
  if (test::find_chromium().empty()) GTEST_SKIP() << "no Chromium is installed";
  EXPECT_EQ(test::page_faults(out + "/report.html"), std::vector<std::string>());
}

TEST_F(ReportTest, APageIsMadeOfWhatIsThere) {
  test::Folder copy;
  fs::copy(out + "/result.json", copy / "result.json");
  ASSERT_EQ(run({"report", copy / "."}).code, kOk);
  const std::string page = read_file(copy / "report.html");
  EXPECT_NE(page.find("\"examples\":null"), std::string::npos);
  EXPECT_NE(page.find("\"missing\":[{"), std::string::npos);
  fs::create_directory(copy / "int8");
  std::ofstream(copy / "int8/layer_errors.json") << "{\"format\": \"espalier-layer-errors\"";
  const test::Ran damaged = run({"report", copy / "."});
  EXPECT_EQ(damaged.code, kBadInput);
  EXPECT_NE(damaged.err.find("layer_errors.json: is damaged"), std::string::npos) << damaged.err;
}

TEST_F(ReportTest, WhatATolerancePromisesThePruneStageKeeps) {
  const Json kept = Json::parse(read_file(out + "/trade_off.json")).at("sensitivity").at("value");
  const Json steps = kept.at("steps");
  for (size_t i = 1; i < steps.size(); ++i) EXPECT_GT(steps[i].at("tolerance"), steps[i - 1].at("tolerance"));
  for (const size_t i : {size_t{0}, steps.size() / 2, steps.size() - 1}) {
    const std::string pruned = *folder / ("tolerance" + std::to_string(i) + ".safetensors");
    const test::Ran ran =
        run({"prune", out + "/baseline/model.safetensors", "--sensitivity",
             out + "/sensitivity/sensitivity.json", "--tolerance", steps[i].at("tolerance").dump(),
             "--min-channels", "4", "--keep-multiple-of", "4", "--recalibrate", "0", "--out", pruned});
    ASSERT_EQ(ran.code, kOk) << ran.err;
    const Json info = run({"info", pruned, "--json", "--seconds", "0"}).json();
    for (const char* key : {"macs", "parameters"}) EXPECT_EQ(info.at(key), steps[i].at(key)) << i;
    EXPECT_EQ(info.at("parameter_bytes"), steps[i].at("bytes")) << i;
  }
  // The line that the slider prints is a stage of a recipe.
  const std::string page = read_file(out + "/report.html");
  const size_t begin = page.find("id=\"data\">") + 10;
  const Json data = Json::parse(page.substr(begin, page.find("</script>", begin) - begin));
  std::string line = data.at("runs")[0].at("tradeoffs")[0].at("line");
  EXPECT_EQ(
      line,
      "- prune: {name: cut, from: baseline, sensitivity: sensitivity, tolerance: @, keep_multiple_of: 4, "
      "min_channels: 4}");
  line.replace(line.find('@'), 1, steps[1].at("tolerance").dump());
  std::string recipe = read_file(*folder / "tiny.yaml");
  const size_t old = recipe.find("- prune");
  recipe.replace(old, recipe.find('\n', old) - old, line);
  std::ofstream(*folder / "chosen.yaml") << recipe;
  const test::Ran plan = run({"run", *folder / "chosen.yaml", "--out", out, "--dry-run"});
  EXPECT_EQ(plan.code, kOk) << plan.err;
  EXPECT_NE(plan.out.find("tolerance 0.001"), std::string::npos) << plan.out;
  int timed = 0;
  for (const Json& step : steps) timed += step.contains("ms");
  EXPECT_GE(timed, 1);
  EXPECT_GT(kept.at("before").at("ms"), 0);
}

TEST_F(ReportTest, CompareTakesSeveralRunsOfOneMetric) {
  test::Folder other;
  fs::copy(out + "/result.json", other / "result.json");
  const std::string page = *folder / "compare.html";
  const test::Ran ran = run({"compare", out, other / ".", "--out", page});
  ASSERT_EQ(ran.code, kOk) << ran.err;
  EXPECT_NE(ran.out.find("report: " + page), std::string::npos);
  EXPECT_TRUE(fs::exists(page));
  EXPECT_EQ(run({"compare", out}).code, kBadInput);
  EXPECT_NE(run({"compare", out, out + "/../run"}).err.find("is named twice"), std::string::npos);
  Json result = Json::parse(read_file(out + "/result.json"));
  result["metric"] = "miou";
  std::ofstream(other / "result.json") << result.dump();
  EXPECT_NE(run({"compare", out, other / "."}).err.find("compare runs of one metric"), std::string::npos);
}

}  // namespace
}  // namespace espalier
