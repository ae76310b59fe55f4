// What is wrong from the start is said at the start, with its place, also by --dry-run.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "command_line.h"
#include "io/model_file.h"
#include "models/model_table.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using test::run;

constexpr const char* kRecipe = R"(model: {name: mobilenet_v2, width: 0.25}
data: {root: DATA, size: 32, batch: 16}
training: {epochs: 1}
stages:
  - train: {name: baseline}
  - sensitivity: {ratios: [0.5]}
  - prune: {name: cut, keep_macs: 0.8}
  - train: {name: pruned}
  - int8
  - bench: {seconds: 0.01, rounds: 1}
)";

struct CheckPlanTest : testing::Test {
  static void SetUpTestSuite() {
    folder = new test::Folder;
    ASSERT_EQ(run({"data", "make", *folder / "data", "--classes", "3", "--train", "16", "--val", "2",
                   "--test", "0", "--size", "36"})
                  .code,
              kOk);
    std::string text = kRecipe;
    std::ofstream(recipe()) << text.replace(text.find("DATA"), 4, *folder / "data");
  }
  static void TearDownTestSuite() { delete folder; }
  static std::string recipe() { return *folder / "r.yaml"; }

  /// The line that a plan and a run with these overrides end with; neither begins a stage.
  static std::string refusal(const std::vector<std::string>& overrides) {
    std::vector<std::string> arguments = {"run", recipe(), "--out", *folder / "out"};
    for (const std::string& override : overrides) {
      arguments.push_back("--set");
      arguments.push_back(override);
    }
    const test::Ran ran = run(arguments);
    EXPECT_EQ(ran.code, kBadInput) << ran.out;
    EXPECT_FALSE(fs::exists(*folder / "out/baseline")) << ran.err;
    arguments.push_back("--dry-run");
    const test::Ran plan = run(arguments);
    EXPECT_EQ(plan.code, kBadInput) << plan.out;
    EXPECT_EQ(plan.err, ran.err);
    return ran.err;
  }

  static void expect_refused(const std::vector<std::string>& overrides, const std::string& message) {
    const std::string line = refusal(overrides);
    EXPECT_NE(line.find("--set " + overrides.back() + ": "), std::string::npos) << line;
    EXPECT_NE(line.find(message), std::string::npos) << line;
  }

  static inline test::Folder* folder;
};

TEST_F(CheckPlanTest, FilesThatAreNotThere) {
  expect_refused({"pruned.from=nosuch.safetensors"}, "stages.3.train.from: nosuch.safetensors");
  expect_refused({"pruned.distill.from=nosuch.safetensors"}, "stages.3.train.distill.from: nosuch");
  expect_refused({"cut.sensitivity=nosuch.json"}, "stages.2.prune.sensitivity: nosuch.json");
  expect_refused({"cut.share_of=nosuch.safetensors"}, "stages.2.prune.share_of: nosuch");
  expect_refused({"model.weights=nosuch"}, "model.weights: nosuch");
  expect_refused({"int8.from=nosuch.safetensors"}, "stages.4.int8.from: nosuch");
}

TEST_F(CheckPlanTest, PatternsThatMatchNothing) {
  expect_refused({"int8.keep_fp32=[nosuch]"}, "keep_fp32 pattern 'nosuch' matches no layer");
  expect_refused({"sensitivity.include=[nosuch]"}, "include: 'nosuch' matches no layer");
  expect_refused({"cut.exclude=[nosuch]"}, "exclude: 'nosuch' matches no layer");
  expect_refused({"sensitivity.ratios=[]"}, "no ratio was given");
}

TEST_F(CheckPlanTest, BatchesAndClassesThatTheDataDoNotHave) {
  const std::string few = "has 48 pictures, fewer than one batch of 50; set batch to at most 48";
  expect_refused({"pruned.batch=50"}, "stages.3.train.batch: data/train: " + few);
  expect_refused({"training.batch=50"}, "training.batch: data/train: " + few);
  expect_refused({"data.batch=50"}, "data.batch: data/train: " + few);
  expect_refused({"int8.finetune.epochs=1", "int8.finetune.batch=50"}, "int8.finetune.batch: data/train: ");
  expect_refused({"pruned.class_weights=[1, 2]"}, "a list of 3 numbers is needed, one a class");
  expect_refused({"model.classes=5"}, "model.classes: is 5 but the data have 3");
  expect_refused({"pruned.schedule={unit: steps, at: [1], warmup_epochs: 1}"}, "stages.3.train.schedule: ");
}

TEST_F(CheckPlanTest, PicturesThatAreStillToBeDrawn) {
  const std::string drawn = "data.make={classes: 3, train: 10, val: 2, test: 0, size: 36}";
  const std::string root = "data.root=" + (*folder / "not_drawn");
  expect_refused({root, drawn, "pruned.batch=31"}, "has 30 pictures, fewer than one batch of 31");
  expect_refused({root, drawn, "model.classes=5"}, "model.classes: is 5 but the data have 3");
  const std::string line = refusal({root, drawn, "data.format=voc"});
  EXPECT_NE(line.find("data.format voc is for detection, but the model"), std::string::npos) << line;
  EXPECT_FALSE(fs::exists(*folder / "not_drawn"));
}

TEST_F(CheckPlanTest, ABoundOfAListThatIsNotThere) {
  expect_refused({"expect.baseline.top1_test={min: 0.5}"}, "there is no test list");
}

TEST_F(CheckPlanTest, NetworksThatCannotBeMade) {
  for (const std::string format : {"voc", "segmentation_list"})
    ASSERT_EQ(run({"data", "make", *folder / format, "--format", format, "--train", "4", "--val", "1",
                   "--test", "0", "--size", "32"})
                  .code,
              kOk);
  const auto complaint = [&](const std::string& format, const std::vector<std::string>& model) {
    const std::string root = *folder / format;
    std::vector<std::string> arguments = {"run", recipe(), "--dry-run"};
    for (const std::string& more :
         {"data.format=" + format, "data.root=" + root, std::string("data.batch=2")})
      arguments.insert(arguments.end(), {"--set", more});
    for (const std::string& more : model) arguments.insert(arguments.end(), {"--set", more});
    const test::Ran ran = run(arguments);
    EXPECT_EQ(ran.code, kBadInput) << ran.out;
    return ran.err;
  };
  const std::string smooth =
      complaint("voc", {"model.name=yolov3_mobilenet_v1", "data.size=64", "baseline.label_smoothing=0.1"});
  EXPECT_NE(smooth.find("train.label_smoothing: detection: unknown option"), std::string::npos) << smooth;
  const std::string yolo = complaint("voc", {"model.name=yolov3_mobilenet_v1", "data.size=80"});
  EXPECT_NE(yolo.find("both sides must be multiples of 32"), std::string::npos) << yolo;
  std::ofstream(*folder / "segmentation_list/labels.txt", std::ios::app) << "third\n";
  const std::string three = complaint("segmentation_list", {"model.name=unet", "model.logits=single"});
  EXPECT_NE(three.find("tells two classes apart, classes is 3"), std::string::npos) << three;
}

/// The file of a network for these pictures.
std::string saved_model() {
  const test::Folder& folder = *CheckPlanTest::folder;
  const ModelSpec spec{"mobilenet_v2", 3, {{"width", 0.25}}};
  Model model;
  model.graph = build_model(spec, 32, 3);
  model.task = "classification";
  model.labels = {"carrot", "potato", "tomato"};
  model.architecture = complete_spec(spec);
  model.preprocessing =
      Json::array({{{"name", "resize"}, {"width", 32}, {"height", 32}}, {{"name", "normalize"}}});
  model.metrics = Json::object();
  model.lineage = Json::array();
  std::ifstream names(folder / "data/labels.txt");
  for (std::string& label : model.labels) std::getline(names, label);
  const std::string file = folder / "m.safetensors";
  save_model(file, model);
  return file;
}

TEST_F(CheckPlanTest, MeasuringNeedsNoTrainingPictures) {
  const std::string file = saved_model(), data = *folder / "measured";
  fs::copy(*folder / "data", data, fs::copy_options::recursive);
  std::vector<fs::path> pictures;
  for (const auto& entry : fs::recursive_directory_iterator(data))
    if (entry.path().extension() == ".jpg") pictures.push_back(entry.path());
  for (const fs::path& picture : pictures)
    if (picture.filename().string().starts_with("train_")) fs::remove(picture);
  const test::Ran evaluated = run({"evaluate", file, "--data", data, "--json"});
  ASSERT_EQ(evaluated.code, kOk) << evaluated.err;
  EXPECT_EQ(evaluated.json().at("samples"), 6);
  const test::Ran calibrated =
      run({"quantize", file, "--data", data, "--list", "val", "--out", *folder / "calibrated.safetensors"});
  EXPECT_EQ(calibrated.code, kOk) << calibrated.err;
  const test::Ran trained = run({"train", "--data", data, "--from", file, "--out", *folder / "trained"});
  EXPECT_EQ(trained.code, kBadInput);
  EXPECT_NE(trained.err.find("measured/train: 51 problems"), std::string::npos) << trained.err;
}

TEST_F(CheckPlanTest, AModelFileIsNotOverruledInSilence) {
  const std::string file = saved_model(), data = *folder / "data";
  const auto refused = [&](std::vector<std::string> arguments, const std::string& set) {
    arguments.insert(arguments.end(), {"--data", data, "--set", set});
    const test::Ran ran = run(arguments);
    EXPECT_EQ(ran.code, kBadInput) << ran.out;
    EXPECT_NE(ran.err.find("--set " + set + ": the "), std::string::npos) << ran.err;
  };
  const std::vector<std::string> retrain = {"train", "--from", file, "--out", *folder / "unheard"};
  refused(retrain, "model.width=0.5");
  refused(retrain, "model={name: mobilenet_v1}");
  refused({"evaluate", file}, "model.weights=x");
  refused({"evaluate", file}, "data.size=64");
  EXPECT_EQ(run({"evaluate", file, "--data", data, "--set", "data.size=32"}).code, kOk);
}

TEST_F(CheckPlanTest, AStepAloneIsCheckedToo) {
  const std::string file = saved_model(), data = *folder / "data";
  const test::Ran quantize = run({"quantize", file, "--data", data, "--out", *folder / "q.safetensors",
                                  "--work", *folder / "work", "--keep-fp32", "nosuch"});
  EXPECT_EQ(quantize.code, kBadInput);
  EXPECT_NE(quantize.err.find("--keep-fp32 nosuch: "), std::string::npos) << quantize.err;
  EXPECT_FALSE(fs::exists(*folder / "work"));
  const test::Ran patterns = run({"quantize", file, "--data", data, "--out", *folder / "q.safetensors",
                                  "--keep-fp32", "*expand*, ?nosuch"});
  EXPECT_EQ(patterns.code, kBadInput);
  EXPECT_NE(patterns.err.find("'?nosuch' matches no"), std::string::npos) << patterns.err;
  const test::Ran train = run({"train", "--data", data, "--set", "data.size=32", "--from", file, "--batch",
                               "50", "--out", *folder / "t"});
  EXPECT_EQ(train.code, kBadInput);
  EXPECT_NE(train.err.find("--batch 50: "), std::string::npos) << train.err;
  EXPECT_FALSE(fs::exists(*folder / "t/train"));
}

}  // namespace
}  // namespace espalier
