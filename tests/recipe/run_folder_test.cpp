// Stages that are done are not done again, unless something they were made from changed.

#include "recipe/run_folder.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "support/temporary_directory.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using What = StageState::What;

struct RunFolderTest : testing::Test {
  test::TemporaryDirectory directory;
  const fs::path root = directory.path() / "run";
  const Json inputs = {{"options", {{"epochs", 4}, {"lr", 0.1}}}, {"model", "abc"}};

  void write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

  void make_stage(const RunFolder& run, const std::string& name) {
    run.begin(name, inputs, run.state(name, inputs));
    write(run.stage(name) / "model", "weights");
    run.finish(name, {.inputs = inputs, .metrics = {{"top1", 0.5}}, .seconds = 2}, {"model"});
  }
};

TEST_F(RunFolderTest, AFinishedStageIsKnownWithItsMetrics) {
  const RunFolder run(root);
  EXPECT_EQ(run.state("baseline", inputs).what, What::kNew);
  make_stage(run, "baseline");
  const StageState state = run.state("baseline", inputs);
  EXPECT_EQ(state.what, What::kFinished);
  EXPECT_EQ(state.record.metrics.at("top1"), 0.5);
  EXPECT_EQ(state.record.seconds, 2);
}

TEST_F(RunFolderTest, AChangedInputSaysWhichAndKeepsWhatWasMade) {
  const RunFolder run(root);
  make_stage(run, "baseline");
  Json changed = inputs;
  changed["options"]["epochs"] = 8;
  const StageState state = run.state("baseline", changed);
  EXPECT_EQ(state.what, What::kStale);
  EXPECT_EQ(state.why, "options.epochs is 8, was 4");
  run.begin("baseline", changed, state);
  EXPECT_FALSE(fs::exists(run.stage("baseline") / "model"));
  EXPECT_TRUE(fs::exists(root / "baseline.old" / "model"));
  EXPECT_EQ(run.state("baseline", changed).what, What::kUnfinished);
}

TEST_F(RunFolderTest, ADamagedRecordIsNone) {
  const RunFolder run(root);
  make_stage(run, "baseline");
  const Json whole = Json::parse(std::ifstream(run.stage("baseline") / "stage.json"));
  for (const char* key : {"inputs", "outputs", "seconds", "finished"})
    for (const Json& value : {Json("x"), Json(Json::value_t::array), Json(nullptr)}) {
      Json record = whole;
      record[key] = value;
      write(run.stage("baseline") / "stage.json", record.dump());
      EXPECT_EQ(run.state("baseline", inputs).what, What::kNew) << record;
    }
  write(run.stage("baseline") / "stage.json", R"({"inputs": )" + std::string(100'000, '['));
  EXPECT_EQ(run.state("baseline", inputs).what, What::kNew);
}

TEST_F(RunFolderTest, AnUnfinishedStageIsContinuedOnlyWithTheSameInputs) {
  const RunFolder run(root);
  run.begin("baseline", inputs, run.state("baseline", inputs));
  write(run.stage("baseline") / "checkpoint", "half");
  EXPECT_EQ(run.state("baseline", inputs).what, What::kUnfinished);
  run.begin("baseline", inputs, run.state("baseline", inputs));
  EXPECT_TRUE(fs::exists(run.stage("baseline") / "checkpoint"));
  Json changed = inputs;
  changed["model"] = "abd";
  EXPECT_EQ(run.state("baseline", changed).why, "model is \"abd\", was \"abc\"");
}

TEST_F(RunFolderTest, AKeyThatCameLaterHadItsDefault) {
  const RunFolder run(root);
  const Json now = {
      {"kind", "train"},
      {"options", {{"epochs", 4}, {"optimizer", {{"lr", 0.1}, {"decay_biases", true}}}, {"keep", "best"}}},
      {"model", {{"name", "mobilenet_v1"}, {"width", 0.5}, {"padding", "symmetric"}}}};
  Json then = now;
  then["options"]["optimizer"].erase("decay_biases");
  then["options"].erase("keep");
  then["model"].erase("padding");
  then["model"]["tap"] = "late";  // another model's
  run.begin("baseline", then, run.state("baseline", then));
  EXPECT_EQ(run.state("baseline", now).what, What::kStale) << "its checkpoint is of other options";
  write(run.stage("baseline") / "model", "weights");
  run.finish("baseline", {.inputs = then}, {"model"});
  EXPECT_EQ(run.state("baseline", now).what, What::kFinished) << run.state("baseline", now).why;
  Json other = now;
  other["options"]["optimizer"]["decay_biases"] = false;
  EXPECT_EQ(run.state("baseline", other).why, "options.optimizer.decay_biases is false, was true");
  other = now;
  other["model"]["padding"] = "tensorflow";
  EXPECT_EQ(run.state("baseline", other).why, "model.padding is \"tensorflow\", was \"symmetric\"");
}

TEST_F(RunFolderTest, WhatWasFinishedBeforeIsTakenBack) {
  const RunFolder run(root);
  make_stage(run, "baseline");
  Json changed = inputs;
  changed["options"]["epochs"] = 8;
  run.begin("baseline", changed, run.state("baseline", changed));
  write(run.stage("baseline") / "checkpoint", "half");
  const StageState state = run.state("baseline", inputs);
  EXPECT_EQ(state.what, What::kSetAside);
  EXPECT_EQ(state.record.metrics.at("top1"), 0.5);
  run.take_back("baseline");
  EXPECT_EQ(run.state("baseline", inputs).what, What::kFinished);
  EXPECT_TRUE(fs::exists(root / "baseline.old" / "checkpoint")) << "the two have changed places";
  EXPECT_FALSE(fs::exists(root / "baseline.swap"));
}

TEST_F(RunFolderTest, TakingBackGoesOnWhereItEnded) {
  const RunFolder run(root);
  make_stage(run, "baseline");
  fs::rename(run.stage("baseline"), root / "baseline.old");
  fs::create_directories(root / "baseline.swap");
  write(root / "baseline.swap" / "checkpoint", "half");
  EXPECT_EQ(run.state("baseline", inputs).what, What::kSetAside);
  run.take_back("baseline");
  EXPECT_EQ(run.state("baseline", inputs).what, What::kFinished);
  EXPECT_TRUE(fs::exists(root / "baseline.old" / "checkpoint"));
}

TEST_F(RunFolderTest, WhatDidNotGetAnywhereReplacesNothing) {
  const RunFolder run(root);
  make_stage(run, "baseline");
  Json refused = inputs, third = inputs;
  refused["options"]["batch"] = 500;
  third["options"]["epochs"] = 9;
  run.begin("baseline", refused, run.state("baseline", refused));
  run.begin("baseline", third, run.state("baseline", third));
  EXPECT_TRUE(fs::exists(root / "baseline.old" / "model"));
  EXPECT_EQ(run.state("baseline", third).what, What::kUnfinished);
  run.take_back("baseline");
  EXPECT_EQ(run.state("baseline", inputs).what, What::kFinished);
  EXPECT_FALSE(fs::exists(root / "baseline.old"));
}

TEST_F(RunFolderTest, WhatWasPutAsideAndChangedIsMadeAgain) {
  const RunFolder run(root);
  make_stage(run, "baseline");
  fs::rename(run.stage("baseline"), root / "baseline.old");
  write(root / "baseline.old" / "model", "other");
  EXPECT_EQ(run.state("baseline", inputs).what, What::kNew);
}

TEST_F(RunFolderTest, OutputsThatWereTouchedOrDeletedAreMadeAgain) {
  const RunFolder run(root);
  make_stage(run, "baseline");
  write(run.stage("baseline") / "model", "other");
  EXPECT_EQ(run.state("baseline", inputs).why, "model was changed");
  fs::remove(run.stage("baseline") / "model");
  EXPECT_EQ(run.state("baseline", inputs).why, "model is gone");
  EXPECT_EQ(run.state("baseline", inputs).what, What::kStale);
}

TEST_F(RunFolderTest, ADamagedRecordMeansNew) {
  const RunFolder run(root);
  make_stage(run, "baseline");
  write(run.stage("baseline") / "stage.json", "{\"inputs\": ");
  EXPECT_EQ(run.state("baseline", inputs).what, What::kNew);
}

TEST_F(RunFolderTest, OneRunAtATime) {
  const RunFolder run(root);
  EXPECT_THROW(RunFolder second(root), Error);
}

TEST_F(RunFolderTest, AFolderThatCannotBeMadeIsOneLine) {
  fs::create_directories(root);
  write(root / "file", "");
  try {
    const RunFolder run(root / "file" / "run");
    FAIL() << "expected an error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("--out"), std::string::npos) << e.what();
  }
}

TEST(FirstDifferenceTest, NamesThePath) {
  EXPECT_EQ(first_difference(Json{{"a", {{"b", 1}}}}, Json{{"a", {{"b", 1}}}}), "");
  EXPECT_EQ(first_difference(Json{{"a", {{"b", 1}}}}, Json{{"a", {{"b", 2}}}}), "a.b is 1, was 2");
  EXPECT_EQ(first_difference(Json{{"a", 1}, {"c", 1}}, Json{{"a", 1}}), "c is new");
  EXPECT_EQ(first_difference(Json{{"a", 1}}, Json{{"a", 1}, {"c", 1}}), "c is gone");
  EXPECT_EQ(first_difference(Json{{"a", {1, 2}}}, Json{{"a", {1, 3}}}), "a is [1,2], was [1,3]");
}

}  // namespace
}  // namespace espalier
