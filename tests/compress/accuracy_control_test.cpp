#include "compress/accuracy_control.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "compress/calibrate.h"
#include "compress/toy.h"
#include "support/messages.h"
#include "support/temporary_directory.h"

namespace espalier::test {
namespace {

/// A network with two layers that INT8 ruins.
struct Case {
  Graph graph = small_concat_network();
  ToySource source;
  std::unique_ptr<Task> task = make_task("classification", 6, nullptr);
  Int8Form form;

  explicit Case(uint64_t seed = 1) : source(graph, 60, 20, seed) {
    form.prepared = prepare_for_quantization(graph);
    form.ranges = calibrate(form.prepared, source, {.calibrator = "min_max"}).ranges;
    // A range far too wide leaves the codes of these nothing to tell apart.
    for (const char* bad : {"e/conv2d", "f/conv2d"})
      form.ranges.at(form.prepared.values[form.prepared.items[form.prepared.find_item(bad)].out[0]].name) *=
          1000;
  }
};

TEST(LayerErrors, NameTheLayersThatAreBroken) {
  Case c;
  const std::vector<LayerError> layers = layer_errors(c.form, c.source, 5);
  EXPECT_EQ(layers.size(), quantizable_items(c.form.prepared).size());
  double sound = 0, broken = 0;
  for (const LayerError& layer : layers) {
    EXPECT_TRUE(std::isfinite(layer.sqnr_db)) << layer.layer;
    EXPECT_FALSE(layer.kept_fp32);
    if (layer.layer.starts_with("b/")) sound = layer.sqnr_db;
    if (layer.layer.starts_with("f/")) broken = layer.sqnr_db;
  }
  EXPECT_GT(sound, 10);
  EXPECT_LT(broken, sound - 10);
}

TEST(LayerErrors, OfNothingQuantisedAreNone) {
  Case c;
  c.form.options.keep_fp32 = {"*"};
  for (const LayerError& layer : layer_errors(c.form, c.source, 3)) {
    EXPECT_TRUE(layer.kept_fp32);
    EXPECT_EQ(layer.sqnr_db, kLeastNoise);
  }
}

TEST(LayerErrors, KnowTheLayersOfTheOutputs) {
  Case c;
  c.form.options.keep_fp32 = {"outputs"};
  int kept = 0;
  for (const LayerError& layer : layer_errors(c.form, c.source, 3)) kept += layer.kept_fp32;
  EXPECT_EQ(kept, 1);
}

TEST(LayerErrors, TheFileHasARowALayer) {
  const std::vector<LayerError> layers = {
      {.layer = "a", .op = "conv2d", .sqnr_db = 30, .metric_only_this = 0.5},
      {.layer = "b", .op = "add", .sqnr_db = 20, .kept_fp32 = true}};
  const Json json = layer_errors_json(layers, "top1", 0.75, {}, 16);
  EXPECT_EQ(json.at("format"), "espalier-layer-errors");
  EXPECT_EQ(json.at("metric_fp32"), 0.75);
  EXPECT_TRUE(json.at("metric_int8").is_null());
  EXPECT_EQ(json.at("layers").at(0).at("metric_only_this"), 0.5);
  EXPECT_TRUE(json.at("layers").at(1).at("metric_only_this").is_null());
  EXPECT_TRUE(json.at("layers").at(1).at("kept_fp32"));
  expect_says(layer_errors_table(layers, 0.75), "25.00 %");
}

TEST(AccuracyControl, ReturnsTheWorstLayersAndNoMore) {
  Case c;
  Measurements measurements(*c.task, c.source);
  std::vector<LayerError> layers = layer_errors(c.form, c.source, 3);
  std::vector<AccuracyControl> kept;
  const AccuracyControl found = control_accuracy(c.form, {.max_drop = 0.05}, measurements, layers,
                                                 [&](const auto& better) { kept.push_back(better); });
  EXPECT_TRUE(found.reached);
  ASSERT_FALSE(found.returned.empty());
  EXPECT_LE(found.returned.size(), 3u) << "two layers are ruined, and one that reads them";
  EXPECT_GE(found.metric_int8, found.metric_fp32 - 0.05 - 1e-9);
  EXPECT_EQ(found.form.options.keep_fp32, found.returned);
  for (size_t i = 1; i < kept.size(); ++i)
    EXPECT_TRUE(kept[i].metric_int8 > kept[i - 1].metric_int8 || kept[i].reached);
  EXPECT_EQ(kept.back().returned, found.returned);
  for (const std::string& layer : found.returned) {
    Int8Form less = found.form;
    std::erase(less.options.keep_fp32, layer);
    EXPECT_LT(measurements.of(less.quantised(), "less").metric, found.metric_fp32 - 0.05) << layer;
  }
}

TEST(AccuracyControl, TakesBackWhatItCanSpare) {
  int spared = 0;
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    Case c(seed);
    Measurements measurements(*c.task, c.source);
    std::vector<LayerError> layers = layer_errors(c.form, c.source, 3);
    const AccuracyControl found = control_accuracy(c.form, {.max_drop = 0}, measurements, layers);
    ASSERT_TRUE(found.reached);
    // Worst first alone, until the limit holds: sometimes more than are needed.
    Int8Form prefix = c.form;
    for (const std::string& worst : worst_first(layers)) {
      prefix.options.keep_fp32.push_back(worst);
      if (measurements.of(prefix.quantised(), "prefix").metric >= found.metric_fp32) break;
    }
    EXPECT_LE(found.returned.size(), prefix.options.keep_fp32.size());
    spared += static_cast<int>(prefix.options.keep_fp32.size() - found.returned.size());
  }
  EXPECT_GT(spared, 0);
}

TEST(AccuracyControl, NeverRepeatsAnEvaluation) {
  Case c;
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "measurements.json";
  std::vector<LayerError> layers = layer_errors(c.form, c.source, 3);
  AccuracyControl whole;
  int all = 0;
  {
    Measurements measurements(*c.task, c.source);
    whole = control_accuracy(c.form, {.max_drop = 0.05}, measurements, layers);
    all = measurements.evaluations();
  }
  // Killed in the middle: whatever was measured is in the file.
  int before = 0;
  {
    Measurements measurements(*c.task, c.source, file);
    std::vector<LayerError> some = {layers[0], layers[1], layers[2]};
    measurements.of(c.form.prepared, "FP32");
    measure_each_layer(c.form, measurements, some);
    before = measurements.evaluations();
    EXPECT_EQ(before, 4);
  }
  Measurements again(*c.task, c.source, file);
  const AccuracyControl resumed = control_accuracy(c.form, {.max_drop = 0.05}, again, layers);
  EXPECT_EQ(resumed.returned, whole.returned);
  EXPECT_EQ(again.evaluations(), all - before);
  Measurements third(*c.task, c.source, file);
  control_accuracy(c.form, {.max_drop = 0.05}, third, layers);
  EXPECT_EQ(third.evaluations(), 0);
}

TEST(AccuracyControl, MeasuresNoLayersWhereInt8IsGoodEnough) {
  Case c;
  Measurements measurements(*c.task, c.source);
  std::vector<LayerError> layers = layer_errors(c.form, c.source, 3);
  const AccuracyControl found = control_accuracy(c.form, {.max_drop = 1}, measurements, layers);
  EXPECT_TRUE(found.reached && found.returned.empty());
  EXPECT_EQ(measurements.evaluations(), 2);
}

TEST(AccuracyControl, RefusesWhatIsNoLimit) {
  Case c;
  Measurements measurements(*c.task, c.source);
  std::vector<LayerError> layers;
  for (const double limit : {-0.1, std::nan("")})
    EXPECT_THROW(control_accuracy(c.form, {.max_drop = limit}, measurements, layers), Error);
}

TEST(Measurements, RefuseAFileOfOtherDataAndADamagedOne) {
  Case c;
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "measurements.json";
  Measurements(*c.task, c.source, file).of(c.form.prepared, "FP32");
  ToySource other(c.graph, 40, 20, 7);
  expect_says(message_of([&] { Measurements(*c.task, other, file); }), "other data");
  std::ofstream(file) << "{\"format\": \"esp";
  expect_says(message_of([&] { Measurements(*c.task, c.source, file); }), "remove it");
}

}  // namespace
}  // namespace espalier::test
