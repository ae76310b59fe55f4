// The whole flow on a few drawn pictures, through the command line: every stage, resuming, result.json,
// bounds.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

#include "base/interrupt.h"
#include "command_line.h"
#include "graph/cost.h"
#include "io/file.h"
#include "io/model_file.h"
#include "io/safetensors.h"
#include "recipe/run_folder.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using test::run;

constexpr const char* kTiny = R"(model: {name: mobilenet_v2, width: 0.25}
data: {root: DATA, size: 32, batch: 16, make: {classes: 3, train: 16, val: 10, test: 6, size: 36}}
training:
  epochs: 1
  optimizer: {lr: 0.01}
  schedule: {name: cosine}
stages:
  - train: {name: baseline, epochs: 2}
  - train: {name: control, from: baseline}
  - sensitivity: {from: baseline, ratios: [0.5], images: 8, stop_loss: 1}
  - prune: {name: cut, keep_macs: 0.8, min_channels: 4, keep_multiple_of: 4}
  - train: {name: pruned}
  - evaluate: {name: untrained, from: scratch}
  - int8: {name: int8, from: baseline, calibration_batches: 1}
  - int8: {name: pruned_int8, from: pruned, calibration_batches: 1}
  - bench: {seconds: 0.01, rounds: 1, batch: 2}
expect:
  baseline.top1: {min: 0}
  pruned.macs_share: {max: 0.8}
)";

std::string write_recipe(const test::Folder& folder, std::string text = kTiny) {
  text.replace(text.find("DATA"), 4, folder / "data");
  std::ofstream(folder / "tiny.yaml") << text;
  return folder / "tiny.yaml";
}

std::string first_picture(const std::string& data) {
  const std::string list = read_file(data + "/train_list.txt");
  return list.substr(0, list.find(' '));
}

/// One finished run for all tests that only look at it.
struct FlowTest : testing::Test {
  static void SetUpTestSuite() {
    folder = new test::Folder;
    recipe = write_recipe(*folder);
    out = *folder / "run";
    first = run({"run", recipe, "--out", out, "--json", "--seconds", "0.005", "--pictures", "12"});
  }
  static void TearDownTestSuite() { delete folder; }

  static Json result() { return Json::parse(read_file(out + "/result.json")); }
  static std::string model(const std::string& stage) { return out + "/" + stage + "/model.safetensors"; }
  static std::vector<std::string> with_data(std::vector<std::string> arguments) {
    for (const char* more : {"--recipe"}) arguments.push_back(more);
    arguments.push_back(recipe);
    return arguments;
  }

  static inline test::Folder* folder;
  static inline std::string recipe, out;
  static inline test::Ran first;
};

TEST_F(FlowTest, EndsWellAndPrintsTheResultItWrote) {
  ASSERT_EQ(first.code, kOk) << first.err;
  EXPECT_EQ(first.json(), result());
}

TEST_F(FlowTest, ResultHoldsEverythingOfEveryVariant) {
  const Json r = result();
  EXPECT_EQ(r.at("task"), "classification");
  EXPECT_EQ(r.at("metric"), "top1");
  EXPECT_EQ(r.at("device"), "cpu");
  EXPECT_GE(r.at("threads"), 1);
  std::vector<std::string> names;
  for (const auto& [name, v] : r.at("variants").items()) {
    names.push_back(name);
    EXPECT_GT(v.at("parameters"), 0) << name;
    EXPECT_GT(v.at("macs"), 0) << name;
    EXPECT_EQ(v.at("bytes"), fs::file_size(fs::path(out) / v.at("model").get<std::string>())) << name;
    for (const char* list : {"val", "test"}) {
      EXPECT_LE(v.at(list).at("low"), v.at(list).at("value")) << name;
      EXPECT_GE(v.at(list).at("high"), v.at(list).at("value")) << name;
    }
    EXPECT_EQ(v.at("val").at("samples"), 30) << name;
    EXPECT_EQ(v.at("test").at("samples"), 18) << name;
    EXPECT_GT(v.at("latency_ms").at("median"), 0) << name;
    EXPECT_GE(v.at("latency_ms").at("p95"), v.at("latency_ms").at("median")) << name;
    EXPECT_GT(v.at("images_per_second"), 0) << name;
  }
  EXPECT_EQ(names,
            (std::vector<std::string>{"baseline", "control", "pruned", "untrained", "int8", "pruned_int8"}));
  EXPECT_TRUE(r.at("stages").contains("cut"));
  EXPECT_EQ(r.at("variants").at("pruned_int8").at("source"), "pruned");
  EXPECT_EQ(r.at("variants").at("pruned").at("source"), "baseline");
  EXPECT_EQ(r.at("expect").size(), 2u);
}

TEST_F(FlowTest, VariantsAreWhatTheyAreCalled) {
  const Json v = result().at("variants");
  EXPECT_EQ(v.at("control").at("parameters"), v.at("baseline").at("parameters"));
  EXPECT_LT(v.at("pruned").at("parameters"), v.at("baseline").at("parameters"));
  EXPECT_LE(v.at("pruned").at("macs").get<double>(), 0.8 * v.at("baseline").at("macs").get<double>());
  EXPECT_LT(v.at("int8").at("bytes"), v.at("baseline").at("bytes"));
  EXPECT_EQ(v.at("int8").at("macs"), v.at("baseline").at("macs"));
}

TEST_F(FlowTest, APlanBeforeThePicturesAreDrawn) {
  const test::Ran plan = run({"run", recipe, "--out", *folder / "later", "--dry-run", "--set",
                              "data.root=" + (*folder / "not_drawn")});
  EXPECT_EQ(plan.code, kOk) << plan.err;
  EXPECT_NE(plan.out.find("will be drawn"), std::string::npos) << plan.out;
  EXPECT_FALSE(fs::exists(*folder / "not_drawn"));
}

TEST_F(FlowTest, AgainDoesNothingAndSaysSo) {
  const auto before = fs::last_write_time(model("baseline"));
  const test::Ran again = run({"run", recipe, "--out", out});
  ASSERT_EQ(again.code, kOk) << again.err;
  EXPECT_EQ(fs::last_write_time(model("baseline")), before);
  const test::Ran plan = run({"run", recipe, "--out", out, "--dry-run"});
  EXPECT_EQ(plan.code, kOk);
  EXPECT_EQ(plan.out.find("(runs"), std::string::npos) << plan.out;
  EXPECT_NE(plan.out.find("1. baseline: train from scratch, 2 epochs (done)"), std::string::npos) << plan.out;
}

TEST_F(FlowTest, APlanSaysWhatAChangeCosts) {
  const test::Ran plan = run({"run", recipe, "--out", out, "--dry-run", "--set", "pruned.epochs=3"});
  EXPECT_NE(plan.out.find("pruned: train from cut, 3 epochs (runs again: options.epochs is 3, was 1)"),
            std::string::npos)
      << plan.out;
  EXPECT_NE(
      plan.out.find(
          "pruned_int8: int8 from pruned, calibrator \"percentile\" (runs again after what it is made from)"),
      std::string::npos)
      << plan.out;
  EXPECT_NE(plan.out.find("control: train from baseline, 1 epochs (done)"), std::string::npos) << plan.out;
}

TEST_F(FlowTest, ABoundThatDoesNotHoldIsExitCodeOne) {
  std::string text = read_file(recipe);
  text.replace(text.find("{min: 0}"), 8, "{min: 1, max: 2}");
  std::ofstream(*folder / "strict.yaml") << text;
  const test::Ran ran = run({"run", *folder / "strict.yaml", "--out", out});
  if (result().at("variants").at("baseline").at("val").at("value") == 1.0)
    GTEST_SKIP() << "the tiny model is perfect";
  EXPECT_EQ(ran.code, kCheckFailed);
  EXPECT_NE(ran.out.find("FAILED  baseline.top1 is "), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("strict.yaml:18)"), std::string::npos) << ran.out;
}

TEST_F(FlowTest, ReportPrintsTheTable) {
  const test::Ran text = run({"report", out}), markdown = run({"report", out, "--markdown"});
  EXPECT_NE(text.out.find("pruned_int8"), std::string::npos);
  EXPECT_EQ(markdown.out[0], '|');
}

TEST_F(FlowTest, InfoTellsGroupsLayersAndLineage) {
  const Json info = run({"info", model("pruned_int8"), "--json"}).json();
  EXPECT_EQ(info.at("labels").size(), 3u);
  std::vector<std::string> stages;
  for (const Json& step : info.at("lineage")) stages.push_back(step.at("stage"));
  EXPECT_EQ(stages, (std::vector<std::string>{"train", "prune", "train", "int8"}));
  const Json float_info = run({"info", model("baseline"), "--json"}).json();
  EXPECT_GT(float_info.at("groups").size(), 20u);
  EXPECT_EQ(float_info.at("macs"), result().at("variants").at("baseline").at("macs"));
  EXPECT_NE(run({"info", model("baseline"), "--layers", "--groups"}).out.find("depthwise"),
            std::string::npos);
  // What no kernel includes has a time; an addition ties what it adds; INT8 layers have scales.
  for (const Json& layer : info.at("layers")) EXPECT_TRUE(layer.at("ms").is_number()) << layer;
  EXPECT_EQ(
      run({"info", model("baseline"), "--json", "--seconds", "0"}).json().at("layers")[0].contains("ms"),
      false);
  std::map<std::string, Json> tied;
  for (const Json& group : float_info.at("groups")) tied[group.at("name")] = group.at("tied_at");
  EXPECT_EQ(tied.at("stem"), Json::array());
  EXPECT_EQ(tied.at("block2/project"), Json::array({"block3/add"}));
  EXPECT_EQ(tied.at("block4/project"), Json::array({"block5/add", "block6/add"}));
  for (const Json& layer : info.at("layers"))
    if (layer.at("op") == "quantized_conv2d") {
      const Json& scales = layer.at("scales");
      EXPECT_GT(scales.at("input"), 0);
      EXPECT_GT(scales.at("output"), 0);
      EXPECT_GT(scales.at("filters")[0], 0);
      EXPECT_GE(scales.at("filters")[1], scales.at("filters")[0]);
    }
  const std::string text = run({"info", model("pruned_int8"), "--seconds", "0.01"}).out;
  for (const char* part : {"lineage", "groups of tied channels", "scales", "1. train baseline"})
    EXPECT_NE(text.find(part), std::string::npos) << part;
}

TEST_F(FlowTest, InfoReadsTheBestModelOfATraining) {
  const test::Ran ran = run({"info", out + "/baseline/best.safetensors", "--seconds", "0"});
  EXPECT_EQ(ran.code, kOk) << ran.err;
  EXPECT_NE(ran.out.find("measured by training, best epoch: top1"), std::string::npos) << ran.out;
}

TEST_F(FlowTest, WhatAModelFileSaysIsCheckedBeforeItIsUsed) {
  const std::string path = *folder / "edited.safetensors";
  const auto refused = [&](const char* key, const std::string& value, const std::string& part) {
    Safetensors file = load_safetensors(model("baseline"));
    file.metadata[std::string("espalier.") + key] = value;
    save_safetensors(path, file);
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"info", path, "--seconds", "0"},
          {"evaluate", path, "--data", *folder / "data"}}) {
      const test::Ran ran = run(arguments);
      EXPECT_EQ(ran.code, kBadInput) << value;
      EXPECT_NE(ran.err.find(path + ": " + part), std::string::npos) << ran.err;
    }
  };
  refused("preprocessing", "[5]", "preprocessing[0]: is 5");
  refused("preprocessing", "{}", "preprocessing: is {}");
  refused("task_options", R"({"a": 1})", "classification: unknown option 'a'");
  refused("task", "telepathy", "task 'telepathy' is unknown");
  // What nothing but this command reads it shows as far as it understands it.
  Safetensors file = load_safetensors(model("baseline"));
  file.metadata["espalier.metrics"] = R"({"a": 1, "b": {"c": {"name": 5, "value": null}}, "d": [[]]})";
  file.metadata["espalier.lineage"] = R"([{"what": "unknown"}])";
  save_safetensors(path, file);
  EXPECT_EQ(run({"info", path, "--seconds", "0"}).code, kOk);
}

TEST_F(FlowTest, EvaluateAloneGivesTheSameNumber) {
  for (const char* variant : {"baseline", "pruned_int8"}) {
    const test::Ran ran = run(with_data({"evaluate", model(variant), "--json"}));
    ASSERT_EQ(ran.code, kOk) << ran.err;
    EXPECT_EQ(ran.json().at("value"), result().at("variants").at(variant).at("val").at("value")) << variant;
  }
  EXPECT_EQ(run(with_data({"evaluate", model("baseline"), "--json", "--list", "test"})).json().at("samples"),
            18);
}

TEST_F(FlowTest, PredictNamesTheLikeliestClasses) {
  std::string picture;
  for (const auto& entry : fs::recursive_directory_iterator(*folder / "data"))
    if (entry.path().extension() == ".jpg") picture = entry.path().string();
  const test::Ran one = run({"predict", model("pruned_int8"), picture, "--json"});
  ASSERT_EQ(one.code, kOk) << one.err;
  EXPECT_EQ(one.json().at("predictions").size(), 1u);
  EXPECT_EQ(one.json().at("predictions").at(0).at("image"), picture);
  const test::Ran folder_of = run({"predict", model("baseline"), fs::path(picture).parent_path().string()});
  EXPECT_EQ(folder_of.code, kOk) << folder_of.err;
  EXPECT_GT(std::count(folder_of.out.begin(), folder_of.out.end(), '\n'), 1);

  std::ofstream(*folder / "empty.jpg");
  const test::Ran bad = run({"predict", model("baseline"), *folder / "empty.jpg", picture, "--json"});
  EXPECT_EQ(bad.code, kBadInput);
  EXPECT_NE(bad.err.find("empty.jpg"), std::string::npos) << bad.err;
  EXPECT_EQ(bad.json().at("predictions").size(), 1u) << "the readable picture is still answered";
}

TEST_F(FlowTest, BenchTimesModelsAndLayers) {
  const test::Ran ran = run({"bench", model("baseline"), model("int8"), "--seconds", "0.01", "--rounds", "1",
                             "--batch", "2", "--layers", "--json"});
  ASSERT_EQ(ran.code, kOk) << ran.err;
  ASSERT_EQ(ran.json().at("models").size(), 2u);
  for (const Json& m : ran.json().at("models")) {
    EXPECT_GT(m.at("latency_ms").at("median"), 0);
    EXPECT_GT(m.at("layers").size(), 20u);
  }
  EXPECT_EQ(run({"bench", model("baseline"), "--seconds", "0.01", "--rounds", "1", "--batch", "2"}).code,
            kOk);
}

TEST_F(FlowTest, StepsAloneFromFlags) {
  const std::string sensitivity = out + "/sensitivity/sensitivity.json";
  const test::Ran pruned = run({"prune", model("baseline"), "--sensitivity", sensitivity, "--keep-parameters",
                                "0.9", "--min-channels", "4", "--out", *folder / "p.safetensors", "--json"});
  ASSERT_EQ(pruned.code, kOk) << pruned.err;
  EXPECT_LT(run({"info", *folder / "p.safetensors", "--json"}).json().at("parameters"),
            result().at("variants").at("baseline").at("parameters"));
  const test::Ran small =
      run(with_data({"quantize", *folder / "p.safetensors", "--out", *folder / "q.safetensors",
                     "--calibrator", "min_max", "--calibration-batches", "1"}));
  ASSERT_EQ(small.code, kOk) << small.err;
  EXPECT_LT(fs::file_size(*folder / "q.safetensors"), fs::file_size(*folder / "p.safetensors"));
  const test::Ran measured = run(with_data({"sensitivity", model("baseline"), "--out", *folder / "s.json",
                                            "--ratios", "0.5", "--images", "8", "--stop-loss", "1"}));
  ASSERT_EQ(measured.code, kOk) << measured.err;
  EXPECT_EQ(read_file(*folder / "s.json"), read_file(sensitivity)) << "the same sweep gives the same file";
}

TEST_F(FlowTest, AModelFileMayHaveAnyName) {
  const std::string plain = *folder / "baseline.model";
  fs::copy(model("baseline"), plain);
  const test::Ran measured = run(with_data({"evaluate", plain, "--json"}));
  ASSERT_EQ(measured.code, kOk) << measured.err;
  EXPECT_EQ(measured.json().at("value"), result().at("variants").at("baseline").at("val").at("value"));
  const test::Ran cut = run({"prune", plain, "--sensitivity", out + "/sensitivity/sensitivity.json",
                             "--keep-macs", "0.9", "--min-channels", "4", "--out", *folder / "cut.model"});
  EXPECT_EQ(cut.code, kOk) << cut.err;
  const test::Ran missing = run(with_data({"evaluate", *folder / "nosuch", "--json"}));
  EXPECT_EQ(missing.code, kBadInput);
  EXPECT_NE(missing.err.find("/nosuch: "), std::string::npos) << missing.err;
}

TEST_F(FlowTest, PruneWithoutABudgetNamesItsFlags) {
  const test::Ran ran = run({"prune", model("baseline"), "--sensitivity",
                             out + "/sensitivity/sensitivity.json", "--out", *folder / "none.safetensors"});
  EXPECT_EQ(ran.code, kBadInput);
  EXPECT_EQ(ran.err,
            "espalier: prune: none of --tolerance, --keep-macs, --keep-parameters, --keep-bytes, "
            "--keep-latency, --latency-ms is given; say exactly one\n");
}

TEST_F(FlowTest, RetrainingTakesItsSizeFromTheModel) {
  const std::vector<std::string> train = {
      "train", "--data", *folder / "data",     "--from", model("baseline"), "--epochs", "1", "--batch",
      "16",    "--out",  *folder / "retrained"};
  const test::Ran ran = run(train);
  ASSERT_EQ(ran.code, kOk) << ran.err;
  const Model again = load_model(*folder / "retrained/train/model.safetensors");
  EXPECT_EQ(again.preprocessing, load_model(model("baseline")).preprocessing);
  std::vector<std::string> other = train;
  other.insert(other.end(), {"--set", "data.size=64"});
  const test::Ran refused = run(other);
  EXPECT_EQ(refused.code, kBadInput);
  EXPECT_NE(refused.err.find("was made for 32x32 pictures but data.size is 64; set data.size=32"),
            std::string::npos)
      << refused.err;
  EXPECT_FALSE(fs::exists(*folder / "retrained/train.old"));
}

TEST_F(FlowTest, PruneMakesOneModelPerTarget) {
  const auto prune = [&](const std::string& budget, const std::string& target, const std::string& file) {
    return run({"prune", model("baseline"), "--sensitivity", out + "/sensitivity/sensitivity.json", budget,
                target, "--min-channels", "4", "--keep-multiple-of", "4", "--out", *folder / file, "--json"});
  };
  const test::Ran two = prune("--keep-macs", "0.9,0.75", "list.safetensors");
  ASSERT_EQ(two.code, kOk) << two.err;
  const Json models = two.json().at("models");
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models.at(1).at("model"), *folder / "list_75.safetensors");
  EXPECT_TRUE(fs::exists(*folder / "list_75.selection.json"));
  const auto macs = [&](const std::string& file) { return cost(load_model(*folder / file).graph).macs; };
  const double whole = static_cast<double>(cost(load_model(model("baseline")).graph).macs);
  EXPECT_LE(macs("list_90.safetensors"), 0.9 * whole);
  EXPECT_LE(macs("list_75.safetensors"), 0.75 * whole);
  EXPECT_LE(macs("list_75.safetensors"), macs("list_90.safetensors"));
  EXPECT_FALSE(fs::exists(*folder / "list.safetensors"));
  const test::Ran one = prune("--keep-macs", "0.75", "one.safetensors");
  ASSERT_EQ(one.code, kOk) << one.err;
  EXPECT_EQ(load_model(*folder / "one.safetensors").graph.hash(),
            load_model(*folder / "list_75.safetensors").graph.hash());
}

TEST_F(FlowTest, PruneByMeasuredLatency) {
  const auto prune = [&](const std::string& budget, const std::string& target) {
    return run({"prune", model("baseline"), "--sensitivity", out + "/sensitivity/sensitivity.json", budget,
                target, "--min-channels", "4", "--keep-multiple-of", "4", "--threads", "1", "--out",
                *folder / "fast.safetensors", "--json"});
  };
  const test::Ran ran = prune("--keep-latency", "0.97");
  ASSERT_EQ(ran.code, kOk) << ran.err;
  const Json selection = Json::parse(read_file(ran.json().at("selection").get<std::string>()));
  const double before = selection.at("before").at("predicted_ms");
  EXPECT_LE(selection.at("after").at("predicted_ms"), 0.97 * before * (1 + 1e-9));
  EXPECT_GT(selection.at("after").at("latency_ms"), 0);
  const std::string table = read_file(*folder / "latency_table.json");
  const test::Ran out_of_reach = prune("--latency-ms", "1e-6");
  EXPECT_EQ(out_of_reach.code, kBadInput);
  EXPECT_NE(out_of_reach.err.find("prune: latency_ms 1e-06 cannot be met"), std::string::npos)
      << out_of_reach.err;
  EXPECT_EQ(read_file(*folder / "latency_table.json"), table) << "measured once";
}

TEST_F(FlowTest, SensitivityOfAnotherModelIsRefused) {
  const test::Ran ran =
      run({"prune", model("control"), "--sensitivity", out + "/sensitivity/sensitivity.json", "--keep-macs",
           "0.8", "--out", *folder / "x.safetensors"});
  EXPECT_EQ(ran.code, kBadInput) << "the control has other weights";
  EXPECT_FALSE(fs::exists(*folder / "x.safetensors"));
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
}

TEST_F(FlowTest, ADamagedModelFileIsOneLine) {
  const std::string bytes = read_file(model("baseline")), path = *folder / "cut.safetensors";
  for (const double share : {0.0, 0.001, 0.5, 0.999}) {
    std::ofstream(path, std::ios::trunc) << bytes.substr(0, static_cast<size_t>(share * bytes.size()));
    const test::Ran ran = run({"info", path});
    EXPECT_EQ(ran.code, kBadInput) << share;
    EXPECT_NE(ran.err.find("cut.safetensors"), std::string::npos) << ran.err;
  }
}

TEST_F(FlowTest, WeightsThatDoNotFitNameTheTensors) {
  const test::Ran ran = run({"run", recipe, "--out", *folder / "w", "--set",
                             "model.weights=" + model("baseline"), "--set", "model.width=0.5"});
  EXPECT_EQ(ran.code, kBadInput);
  EXPECT_NE(ran.err.find("/w"), std::string::npos) << ran.err;
}

TEST_F(FlowTest, LabelsOfOtherDataAreRefused) {
  ASSERT_EQ(run({"data", "make", *folder / "other", "--classes", "4", "--train", "1", "--val", "1", "--test",
                 "0", "--size", "36"})
                .code,
            kOk);
  const test::Ran ran = run({"evaluate", model("baseline"), "--data", *folder / "other"});
  EXPECT_EQ(ran.code, kBadInput);
  EXPECT_NE(ran.err.find("knows 3 classes but the data have 4"), std::string::npos) << ran.err;
}

TEST_F(FlowTest, AFolderThatCannotBeWrittenIsOneLine) {
  std::ofstream(*folder / "file") << "";
  const test::Ran ran = run({"run", recipe, "--out", *folder / "file" + "/run"});
  EXPECT_EQ(ran.code, kBadInput);
  EXPECT_NE(ran.err.find("--out"), std::string::npos) << ran.err;
  const test::Ran prune = run({"quantize", model("baseline"), "--recipe", recipe, "--out",
                               *folder / "file" + "/q.safetensors", "--calibration-batches", "1"});
  EXPECT_EQ(prune.code, kBadInput) << prune.err;
}

TEST_F(FlowTest, DataCheckFindsNothingAndSomething) {
  const test::Ran good = run({"data", "check", "--data", *folder / "data", "--json"});
  EXPECT_EQ(good.code, kOk) << good.err << good.out;
  const std::string copy = *folder / "copy";
  fs::copy(*folder / "data", copy, fs::copy_options::recursive);
  std::ofstream(copy + "/val_list.txt", std::ios::app) << "missing.jpg 0\n";
  const test::Ran bad = run({"data", "check", "--data", copy});
  EXPECT_EQ(bad.code, kCheckFailed);
  EXPECT_NE(bad.out.find("missing.jpg"), std::string::npos) << bad.out;
}

TEST_F(FlowTest, DataOfTheOtherTasksAreDrawnCheckedAndFitted) {
  for (const std::string format : {"voc", "segmentation_list"}) {
    const std::string drawn = *folder / format, set = "data.format=" + format;
    const test::Ran make = run({"data", "make", drawn, "--format", format, "--train", "12", "--val", "3",
                                "--test", "0", "--size", "64"});
    ASSERT_EQ(make.code, kOk) << make.err;
    EXPECT_EQ(make.out, drawn + ": 15 pictures (" + format + ")\n");
    const test::Ran check = run({"data", "check", "--data", drawn, "--set", set});
    EXPECT_EQ(check.code, kOk) << check.out;
    EXPECT_EQ(run({"data", "check", "--data", drawn}).out, check.out) << "the files say what they are";
    const test::Ran anchors =
        run({"data", "anchors", "--data", drawn, "--set", set, "--set", "data.size=96", "--count", "3"});
    if (format == "voc") {
      EXPECT_EQ(anchors.code, kOk) << anchors.err;
      EXPECT_NE(anchors.out.find("boxes at 96x96 pixels, mean IoU 0."), std::string::npos) << anchors.out;
      EXPECT_NE(anchors.out.find("\ntask:\n  anchors: [["), std::string::npos) << anchors.out;
    } else {
      EXPECT_EQ(anchors.code, kBadInput);
      EXPECT_NE(anchors.err.find("anchors need data.format voc or coco"), std::string::npos) << anchors.err;
    }
    // A classifier cannot be trained on these.
    const test::Ran wrong = run({"train", "--data", drawn, "--set", set, "--out", *folder / "wrong"});
    EXPECT_EQ(wrong.code, kBadInput);
    EXPECT_NE(wrong.err.find("data.format " + format + " is for "), std::string::npos) << wrong.err;
    const test::Ran guessed = run({"train", "--data", drawn, "--out", *folder / "wrong"});
    EXPECT_NE(guessed.err.find("data.format " + format + " is for "), std::string::npos) << guessed.err;
  }
}

TEST(EarlyTest, AFolderForEachClassIsTrainedOnAsItIs) {
  const test::Folder folder;
  const std::string data = folder / "data";
  ASSERT_EQ(run({"data", "make", data, "--format", "image_folder", "--classes", "2", "--train", "4", "--val",
                 "2", "--test", "0", "--size", "32"})
                .code,
            kOk);
  const std::vector<std::string> train = {
      "train",        "--data",   data, "--set", "model.width=0.25", "--set", "data.size=32", "--set",
      "data.batch=4", "--epochs", "1",  "--out", folder / "out"};
  const test::Ran trained = run(train);
  EXPECT_EQ(trained.code, kOk) << trained.err;
}

TEST(EarlyTest, FaultsOfTheTestListAndSharedPicturesAreSaidBeforeTheTraining) {
  const test::Folder folder;
  ASSERT_EQ(run({"data", "make", folder / "data", "--classes", "2", "--train", "4", "--val", "2", "--test",
                 "2", "--size", "32"})
                .code,
            kOk);
  fs::copy_file(folder / "data/train_list.txt", folder / "data/val_list.txt",
                fs::copy_options::overwrite_existing);
  std::ofstream(folder / "data/cut.jpg")
      << read_file(folder / "data/" + first_picture(folder / "data")).substr(0, 300);
  std::ofstream(folder / "data/test_list.txt") << "cut.jpg 0\n";
  const std::vector<std::string> train = {
      "train", "--data",       folder / "data", "--set",        "model.width=0.25",
      "--set", "data.size=32", "--set",         "data.batch=4", "--epochs",
      "1",     "--out",        folder / "out"};
  const test::Ran refused = run(train);
  EXPECT_EQ(refused.code, kBadInput);
  EXPECT_NE(refused.err.find("cut.jpg: the JPEG file is cut off"), std::string::npos) << refused.err;
  EXPECT_FALSE(fs::exists(folder / "out/train/model.safetensors"));
  fs::remove(folder / "data/test_list.txt");
  testing::internal::CaptureStderr();
  const test::Ran trained = run(train);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(trained.code, kOk) << trained.err;
  EXPECT_NE(said.find("warning: data/val: 8 of 8 pictures are in data/train too, the first '"),
            std::string::npos)
      << said;
}

TEST(InterruptTest, StopsWith130AndTheSameCommandContinuesToTheSameModel) {
  const test::Folder folder;
  std::string text = kTiny;
  text = text.substr(0, text.find("  - train: {name: control")) +
         "  - bench: {seconds: 0.01, rounds: 1, batch: 2}\n";
  text.replace(text.find("epochs: 2"), 9, "epochs: 6");
  const std::string recipe = write_recipe(folder, text);
  ASSERT_EQ(run({"data", "make", folder / "data", "--classes", "3", "--train", "16", "--val", "10", "--test",
                 "0", "--size", "36"})
                .code,
            kOk);
  std::thread ctrl_c([&] {
    while (!fs::exists(folder / "a/baseline/stage.json"))
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    request_interrupt();
  });
  const test::Ran stopped = run({"run", recipe, "--out", folder / "a"});
  ctrl_c.join();
  request_interrupt(false);
  ASSERT_EQ(stopped.code, kInterrupted) << stopped.err;
  ASSERT_EQ(run({"run", recipe, "--out", folder / "a"}).code, kOk);
  ASSERT_EQ(run({"run", recipe, "--out", folder / "b"}).code, kOk);
  const Model a = load_model(folder / "a/baseline/model.safetensors"),
              b = load_model(folder / "b/baseline/model.safetensors");
  EXPECT_EQ(a.graph.hash(), b.graph.hash());
}

}  // namespace
}  // namespace espalier
