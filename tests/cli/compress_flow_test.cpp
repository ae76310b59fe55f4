// What compression offers beyond one cut and one conversion, in one small run.

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/command_line.h"
#include "io/file.h"
#include "io/onnx.h"
#include "support/messages.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using test::run;

constexpr const char* kRecipe = R"(model: {name: mobilenet_v2, width: 0.25}
threads: 1
data: {root: DATA, size: 32, batch: 16, make: {classes: 3, train: 16, val: 10, test: 6, size: 36}}
training:
  epochs: 1
  optimizer: {lr: 0.01}
  schedule: {name: cosine}
stages:
  - train: {name: baseline, epochs: 2}
  - sensitivity: {from: baseline, ratios: [0.5], images: 8, stop_loss: 1, criterion: taylor, criterion_images: 32}
  - prune: {name: cut, keep_macs: [0.9, 0.8], rule: uniform, rounds: 2, min_channels: 4, keep_multiple_of: 4}
  - train: {name: pruned, distill: {from: baseline, temperature: 2}}
  - prune: {name: quick, sensitivity: sensitivity, keep_latency: 0.95, min_channels: 4, keep_multiple_of: 4}
  - int8: {name: tuned, from: pruned_80, calibration_batches: 1, weights: per_tensor, finetune: {epochs: 2, lr: 0.001}}
  - bench: {seconds: 0.01, rounds: 1, batch: 2}
expect:
  pruned.macs_share: {max: 0.9}
)";

/// One finished run for both tests.
struct CompressFlow : testing::Test {
  static void SetUpTestSuite() {
    folder = new test::Folder;
    std::string text = kRecipe;
    if (has_onnx()) text.replace(text.find("  - bench"), 0, "  - export: {from: tuned, batch: 2}\n");
    std::ofstream(recipe()) << text.replace(text.find("DATA"), 4, *folder / "data");
    first = go({"--json"});
  }
  static void TearDownTestSuite() { delete folder; }

  static bool has_onnx() {
    return test::message_of([] { check_onnx_is_built(); }).empty();
  }
  static std::string recipe() { return *folder / "small.yaml"; }
  static std::string out(const std::string& file) { return *folder / "run/" + file; }
  static test::Ran go(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"run",       recipe(), "--out",      out(""),
                                          "--seconds", "0",      "--pictures", "4"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  static Json selection(const std::string& stage) {
    return Json::parse(read_file(out(stage + "/selection.json")));
  }

  static inline test::Folder* folder;
  static inline test::Ran first;
};

TEST_F(CompressFlow, EveryPartIsAStageOfTheRun) {
  ASSERT_EQ(first.code, kOk) << first.err;
  const Json variants = first.json().at("variants");
  std::vector<std::string> names;
  for (const auto& [name, variant] : variants.items()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"baseline", "pruned_90", "pruned_80", "quick", "tuned"}));
  const double whole = variants.at("baseline").at("macs");
  EXPECT_LE(variants.at("pruned_90").at("macs").get<double>(), 0.9 * whole);
  EXPECT_LE(variants.at("pruned_80").at("macs").get<double>(), 0.8 * whole);
  // The first of two rounds, of what the second goes on with.
  const Json round = selection("cut_80_round1"), last = selection("cut_80");
  EXPECT_LE(round.at("after").at("macs").get<double>(), std::sqrt(0.8) * whole);
  EXPECT_EQ(last.at("before").at("macs"), round.at("after").at("macs"));
  EXPECT_EQ(last.at("criterion"), "taylor");
  // The curves are of 8 images; what decides is measured again on all 30.
  const Json refined = Json::parse(read_file(out("quick/refined.json")));
  EXPECT_EQ(refined.at("samples"), 8);
  EXPECT_EQ(refined.at("refined").at("samples"), 30);
  // A latency is predicted, and measured afterwards.
  const Json quick = selection("quick");
  EXPECT_LE(quick.at("after").at("predicted_ms").get<double>(),
            0.95 * quick.at("before").at("predicted_ms").get<double>());
  EXPECT_GT(quick.at("after").at("latency_ms"), 0);
  EXPECT_TRUE(fs::exists(out("latency_table.json")));
  EXPECT_LT(variants.at("tuned").at("bytes"), variants.at("pruned_80").at("bytes"));

  const test::Ran plan = go({"--dry-run"});
  EXPECT_EQ(plan.out.find("(runs"), std::string::npos) << plan.out;
}

TEST_F(CompressFlow, ExportsAsAStageAndAlone) {
  if (!has_onnx()) GTEST_SKIP() << "built without ONNX";
  ASSERT_EQ(first.code, kOk) << first.err;
  const std::string model = out("tuned/model.safetensors"), alone = *folder / "alone.onnx";
  const test::Ran exported = run({"export", model, "--out", alone, "--batch", "2", "--json"});
  ASSERT_EQ(exported.code, kOk) << exported.err;
  EXPECT_EQ(read_file(alone) == read_file(out("export/model.onnx")), true);
  const Json json = exported.json();
  EXPECT_EQ(json.at("input"),
            (Json{{"name", "pixels"}, {"type", "uint8"}, {"shape", {"2", "32", "32", "3"}}}));
  EXPECT_EQ(json.at("outputs"),
            Json::array({Json{{"name", "output"}, {"type", "float32"}, {"shape", {"2", "3"}}}}));
  EXPECT_EQ(json.at("bytes"), fs::file_size(alone));
  EXPECT_LT(json.at("bytes"), fs::file_size(out("pruned_80/model.safetensors")) / 2) << "it is INT8";
  const test::Ran floats = run({"export", model, "--out", alone, "--input", "normalized"});
  test::expect_says(floats.out, "takes images float32 [N,3,32,32], gives output float32 [N,3]; ");
  const test::Ran itself = run({"export", model, "--out", model});
  EXPECT_EQ(itself.code, kBadInput);
  test::expect_says(itself.err, "the model that is read");
  const test::Ran typo = run({"export", model, "--out", alone, "--input", "pixel"});
  EXPECT_EQ(typo.code, kBadInput);
  test::expect_says(typo.err, "did you mean 'pixels'");
}

TEST_F(CompressFlow, FinetuningGoesOnWhereItWasKilled) {
  ASSERT_EQ(first.code, kOk) << first.err;
  const std::string want = read_file(out("tuned/model.safetensors"));
  // As if the power had failed after the training and before the file.
  fs::remove(out("tuned/model.safetensors"));
  Json record = Json::parse(read_file(out("tuned/stage.json")));
  record["finished"] = false;
  write_atomically(out("tuned/stage.json"), record.dump());
  const auto trained = fs::last_write_time(out("tuned/finetune/checkpoint.safetensors"));
  const test::Ran again = go();
  ASSERT_EQ(again.code, kOk) << again.err;
  EXPECT_EQ(fs::last_write_time(out("tuned/finetune/checkpoint.safetensors")), trained)
      << "trained once more";
  EXPECT_EQ(read_file(out("tuned/model.safetensors")) == want, true) << "another model came out";
}

}  // namespace
}  // namespace espalier
