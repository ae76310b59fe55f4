// What is collected for the page of a run, from folders that are whole, poor or damaged.

#include "recipe/report.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "support/temporary_directory.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;

struct CollectTest : testing::Test {
  test::TemporaryDirectory folder;

  CollectTest() {
    write("result.json",
          {{"task", "classification"},
           {"metric", "top1"},
           {"device", "cpu"},
           {"threads", 2},
           {"variants", {{"baseline", {{"kind", "train"}, {"macs", 7}, {"parameters", 5}, {"bytes", 40}}}}},
           {"stages", {{"cut", {{"kind", "prune"}}}, {"int8", {{"kind", "int8"}}}}}});
  }
  void write(const std::string& name, const Json& json) { text(name, json.dump()); }
  void text(const std::string& name, const std::string& content) {
    fs::create_directories((folder.path() / name).parent_path());
    std::ofstream(folder.path() / name) << content;
  }
  Json data() { return report_data(folder.path(), {.pictures = 0, .seconds = 0}); }
  std::string error() {
    try {
      data();
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
};

TEST_F(CollectTest, WhatIsMissingIsSaidWithWhatWouldMakeIt) {
  std::map<std::string, std::string> missing;
  const Json found = data();
  for (const Json& line : found.at("missing")) missing[line.at("section")] = line.at("text");
  EXPECT_EQ(missing.size(), 6u);
  EXPECT_NE(missing.at("Sensitivity and trade-off").find("- sensitivity:"), std::string::npos);
  EXPECT_NE(missing.at("INT8 error per layer").find("run the recipe again"), std::string::npos);
  EXPECT_EQ(found.at("examples"), nullptr);
  EXPECT_EQ(found.at("training"), Json::array());
}

TEST_F(CollectTest, EmptyCellsOfTheLogAreNull) {
  text("baseline/epochs.csv", "epoch,loss,top1\n1,2.5,\n2,1.5,0.75\n");
  const Json columns = data().at("training")[0].at("columns");
  EXPECT_EQ(columns.at("epoch"), Json({1, 2}));
  EXPECT_EQ(columns.at("loss"), Json({2.5, 1.5}));
  EXPECT_EQ(columns.at("top1"), Json({nullptr, 0.75}));
}

TEST_F(CollectTest, LargeConfusionMatricesBecomeTheirWorst) {
  constexpr int kClasses = 50;
  Json matrix = Json::array();
  for (int is = 0; is < kClasses; ++is) {
    Json row = Json::array();
    for (int as = 0; as < kClasses; ++as) row.push_back(is == as ? 10 : 0);
    matrix.push_back(row);
  }
  matrix[3][7] = 2;
  matrix[4][0] = 5;
  write("baseline/evaluation.json", {{"val", {{"value", 0.9}, {"details", {{"confusion", matrix}}}}}});
  const Json details = data().at("evaluation").at("baseline").at("val").at("details");
  EXPECT_FALSE(details.contains("confusion"));
  EXPECT_EQ(details.at("worst"), Json::array({{{"is", 4}, {"taken_for", 0}, {"count", 5}, {"of", 15}},
                                              {{"is", 3}, {"taken_for", 7}, {"count", 2}, {"of", 12}}}));
}

TEST_F(CollectTest, ASelectionIsACut) {
  const Json before = {{"parameters", 9}, {"macs", 8}, {"bytes", 7}, {"latency_ms", 2.5}};
  write("cut/selection.json", {{"format", "espalier-selection"},
                               {"version", 1},
                               {"rule", "uniform"},
                               {"tolerance", nullptr},
                               {"before", before},
                               {"after", before},
                               {"metric_after_recalibration", 0.5},
                               {"groups",
                                {{{"name", "stem"},
                                  {"members", {"stem"}},
                                  {"channels_before", 32},
                                  {"channels_after", 24},
                                  {"ratio", 0.25},
                                  {"predicted_loss", 0.01}}}}});
  const Json cut = data().at("cuts").at(0);
  EXPECT_EQ(cut.at("stage"), "cut");
  EXPECT_EQ(cut.at("rule"), "uniform");
  EXPECT_EQ(cut.at("before").at("latency_ms"), 2.5);
  EXPECT_EQ(cut.at("groups")[0].at("channels_before"), 32);
  EXPECT_EQ(cut.at("groups")[0].at("channels_after"), 24);
}

TEST_F(CollectTest, DamageIsNamedAndNothingIsLost) {
  text("int8/layer_errors.json", "{\"format\": \"espalier-layer-errors\", \"version\": 2, \"layers\": []}");
  EXPECT_NE(error().find("int8/layer_errors.json: is no file of format espalier-layer-errors, version 1"),
            std::string::npos)
      << error();
  text("int8/layer_errors.json", "{");
  EXPECT_NE(error().find("layer_errors.json: is damaged"), std::string::npos) << error();
  fs::remove(folder.path() / "int8/layer_errors.json");
  write("cut/selection.json", {{"format", "espalier-selection"}, {"version", 1}});
  EXPECT_NE(error().find("lacks something"), std::string::npos) << error();
  const std::string message = error();
  EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 0) << message;
  EXPECT_TRUE(fs::exists(folder.path() / "result.json"));
}

TEST_F(CollectTest, AFolderWithoutAResultIsNoRun) {
  fs::remove(folder.path() / "result.json");
  EXPECT_NE(error().find("no result in "), std::string::npos) << error();
}

Prediction of_class(int label) {
  Prediction p;
  p.classes = {{label, 0.8}, {label + 1, 0.1}};
  return p;
}

Prediction of_boxes(std::vector<ObjectBox> boxes) {
  Prediction p;
  p.boxes = std::move(boxes);
  return p;
}

Prediction of_mask(std::vector<uint8_t> classes) {
  Prediction p;
  p.mask = {static_cast<int>(classes.size()), 1, std::move(classes)};
  return p;
}

TEST(DisagreementTest, OfClassesIsWhetherTheLikeliestIsAnother) {
  EXPECT_EQ(disagreement({of_class(3)}), 0);
  EXPECT_EQ(disagreement({of_class(3), of_class(3)}), 0);
  EXPECT_EQ(disagreement({of_class(3), of_class(3), of_class(4)}), 1);
}

TEST(DisagreementTest, OfBoxesIsTheShareWithoutAPartner) {
  const ObjectBox box = {.x0 = 0, .y0 = 0, .x1 = 10, .y1 = 10, .label = 1, .score = 0.9f};
  ObjectBox near = box, other = box, unsure = box, far = box;
  near.x1 = 12;
  other.label = 2;
  unsure.score = 0.4f;
  far.x0 = 20, far.x1 = 30;
  EXPECT_EQ(disagreement({of_boxes({box}), of_boxes({near})}), 0);
  EXPECT_EQ(disagreement({of_boxes({box}), of_boxes({other})}), 1);
  EXPECT_EQ(disagreement({of_boxes({}), of_boxes({unsure})}), 0);
  EXPECT_NEAR(disagreement({of_boxes({box}), of_boxes({near, far})}), 1.0 / 3, 1e-12);
  EXPECT_EQ(disagreement({of_boxes({box}), of_boxes({box, box})}), 1.0 - 2.0 / 3) << "a box has one partner";
}

TEST(DisagreementTest, OfMasksLeavesBackgroundOut) {
  EXPECT_EQ(disagreement({of_mask({0, 0, 0, 0}), of_mask({0, 0, 0, 0})}), 0);
  EXPECT_EQ(disagreement({of_mask({0, 1, 1, 0}), of_mask({0, 1, 0, 0})}), 0.5);
  EXPECT_EQ(disagreement({of_mask({0, 1, 1, 0}), of_mask({0, 1, 1, 0}), of_mask({0, 2, 2, 0})}), 1);
}

}  // namespace
}  // namespace espalier
