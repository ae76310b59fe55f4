// The page of a run: complete in one file, and sound in a browser, whatever the run has.

#include "report/page.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "report/data_uri.h"
#include "support/browser.h"
#include "support/temporary_directory.h"

namespace espalier {
namespace {

constexpr const char* kPixel =
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

Json measured(double value) {
  return {{"name", "map"},        {"value", value}, {"low", value - 0.05},
          {"high", value + 0.04}, {"samples", 123}, {"loss", 3.5}};
}

Json variant(double value, const char* source) {
  Json v = {{"parameters", 24e6},
            {"macs", 16.5e9},
            {"bytes", 97e6},
            {"val", measured(value)},
            {"kind", "train"},
            {"latency_ms", {{"median", 120.5}, {"p95", 140.25}}},
            {"images_per_second", 8.25},
            {"arena_bytes", 33e6},
            {"packed_bytes", 97e6}};
  if (source) v["source"] = source;
  return v;
}

/// A run that has everything, with names long enough to trouble a layout.
Json full_run(const std::string& name, const std::string& task) {
  const std::string long_name = "pruned_to_a_third_and_retrained_with_distillation";
  Json run = {{"name", name}, {"missing", {{{"section", "Nothing"}, {"text", "is missing"}}}}};
  run["result"] = {{"recipe", name},  {"version", "0.1.0"}, {"task", task}, {"metric", "map"},
                   {"device", "cpu"}, {"threads", 4},       {"seed", 1},    {"throughput_batch", 32}};
  run["result"]["variants"] = {{"baseline", variant(0.71, nullptr)}, {long_name, variant(0.68, "baseline")}};
  Json near = variant(0.708, "baseline");  // where the name of its source would stand
  near["latency_ms"]["median"] = 123.0;
  run["result"]["variants"]["near"] = near;
  run["result"]["variants"]["unmeasured"] = {{"parameters", 5}, {"macs", 6}, {"bytes", 7}};
  run["result"]["expect"] = {
      {{"bound", "baseline.map"}, {"value", 0.71}, {"expected", "at least 0.8"}, {"holds", false}}};
  Json columns;
  for (int epoch = 1; epoch <= 30; ++epoch) {
    columns["epoch"].push_back(epoch);
    columns["loss"].push_back(30.0 / epoch);
    columns["rate"].push_back(0.01 / epoch);
    for (const char* key : {"map", "low", "high", "eval_loss"})
      columns[key].push_back(epoch % 5 ? Json(nullptr) : Json(epoch / 40.0));
  }
  run["training"] = {{{"stage", "baseline"}, {"columns", columns}},
                     {{"stage", long_name}, {"columns", columns}}};
  Json groups = Json::array(), kept = Json::array(), curves = Json::array(), cut = Json::array(),
       layers = Json::array();
  for (int g = 0; g < 30; ++g) {
    const std::string group = "backbone_stage" + std::to_string(g) + "/a_block_with_a_long_name/expand";
    groups.push_back({{"name", group}, {"channels", 32 + g}});
    kept.push_back(g % 3 ? 32 + g : 16);
    curves.push_back(
        {{"name", group},
         {"channels", 32 + g},
         {"members", {{{"parameter", group + "/w"}, {"axis", 0}, {"role", "makes it"}}}},
         {"points",
          {{{"ratio", 0.25}, {"metric", 0.7}, {"loss", g % 4 ? 0.02 : -0.01}, {"low", 0.6}, {"high", 0.8}},
           {{"ratio", 0.5}, {"metric", 0.5}, {"loss", 0.02 * g}, {"low", 0.4}, {"high", 0.6}}}}});
    cut.push_back({{"name", group},
                   {"channels_before", 32 + g},
                   {"channels_after", kept.back()},
                   {"predicted_loss", 0.01},
                   {"reason", g % 3 ? "sensitive" : ""}});
    layers.push_back({{"layer", group},
                      {"op", "conv2d"},
                      {"sqnr_db", g == 3 ? Json(nullptr) : Json(40.0 - g)},
                      {"metric_only_this", g % 2 ? Json(0.7) : Json(nullptr)},
                      {"kept_fp32", g == 4}});
  }
  run["sensitivities"] = {{{"stage", "sensitivity"},
                           {"from", "baseline"},
                           {"file",
                            {{"metric", "map"},
                             {"baseline", 0.71},
                             {"samples", 123},
                             {"stop_loss", 0.5},
                             {"criterion", "l1"},
                             {"ratios", {0.25, 0.5}},
                             {"groups", curves}}}}};
  const Json before = {{"parameters", 100}, {"macs", 1e9}, {"bytes", 400}, {"ms", 10}};
  run["tradeoffs"] = {{{"stage", "sensitivity"},
                       {"from", "baseline"},
                       {"groups", groups},
                       {"before", before},
                       {"line", "- prune: {from: baseline, sensitivity: sensitivity, tolerance: @}"},
                       {"steps",
                        {{{"tolerance", 0},
                          {"kept", kept},
                          {"parameters", 90},
                          {"macs", 9e8},
                          {"bytes", 350},
                          {"predicted_loss", 0},
                          {"ms", 9}},
                         {{"tolerance", 0.1},
                          {"kept", kept},
                          {"parameters", 40},
                          {"macs", 3e8},
                          {"bytes", 150},
                          {"predicted_loss", 0.6}}}}}};
  run["cuts"] = {{{"stage", "cut"},
                  {"rule", "tolerance"},
                  {"tolerance", 0.05},
                  {"predicted_loss", 0.4},
                  {"before", before},
                  {"after", {{"parameters", 40}, {"macs", 3e8}, {"bytes", 150}}},
                  {"groups", cut},
                  {"value", nullptr}}};
  run["layer_errors"] = {{{"stage", "int8"},
                          {"metric_name", "map"},
                          {"metric_fp32", 0.71},
                          {"metric_int8", 0.7},
                          {"images", 64},
                          {"layers", layers}}};
  run["labels"] = {"a class </script><b>", "another class with a name that is long", "a third"};
  Json all = measured(0.7);
  if (task == "detection")
    all["details"] = {
        {"per_class", {0.5, 0.9, nullptr}},
        {"counts", {3, 4, 0}},
        {"detections", {10, 20, 0}},
        {"curves",
         {{{"recall", {0.1, 0.5}}, {"precision", {1, 0.6}}, {"score", {0.9, 0.2}}},
          {{"recall", {0.3}}, {"precision", {0.6}}, {"score", {0.9}}},
          {{"recall", Json::array()}, {"precision", Json::array()}, {"score", Json::array()}}}}};
  else
    all["details"] = {{"per_class", {0.5, 0.9, nullptr}},
                      {"counts", {3, 4, 0}},
                      {"confusion", {{2, 1, 0}, {0, 4, 0}, {0, 0, 0}}}};
  run["evaluation"] = {{"baseline", {{"val", all}, {"test", all}}}, {long_name, {{"val", all}}}};
  const bool drawn = task != "classification";
  const Json seen = drawn
                        ? Json{{"image", kPixel}, {"boxes", 2}}
                        : Json{{"classes", {{{"label", 0}, {"score", 0.6}}, {{"label", 1}, {"score", 0.3}}}}};
  run["examples"] = {{"task", task},
                     {"list", "val"},
                     {"looked_at", 64},
                     {"disagreements", 3},
                     {"legend", {{{"label", 1}, {"color", "#ff00aa"}}}},
                     {"variants", {"baseline", long_name}},
                     {"pictures",
                      {{{"name", "a_picture_with_a_long_name_0001.jpg"},
                        {"image", kPixel},
                        {"width", 420},
                        {"height", 300},
                        {"boxes", 1},
                        {"truth", drawn ? Json(nullptr) : Json(1)},
                        {"disagree", 0.25},
                        {"variants", {seen, seen}}}}}};
  return run;
}

/// A run of which nothing but its result is there.
Json bare_run() {
  Json run = {{"name", "bare"}, {"examples", nullptr}, {"evaluation", Json::object()}};
  for (const char* key : {"training", "sensitivities", "tradeoffs", "cuts", "layer_errors", "labels"})
    run[key] = Json::array();
  run["missing"] = {{{"section", "Training curves"}, {"text", "a train stage writes them"}}};
  run["result"] = full_run("x", "classification").at("result");
  run["result"].erase("expect");
  return run;
}

Json page_of(const Json& runs) {
  return {{"format", "espalier-report"}, {"version", "0.1.0"}, {"runs", runs}};
}

std::string faults_of(const Json& runs) {
  const test::TemporaryDirectory folder;
  std::ofstream(folder.path() / "page.html") << report_page(page_of(runs));
  std::string all;
  for (const std::string& fault : test::page_faults(folder.path() / "page.html")) all += fault + "\n";
  return all;
}

TEST(PageTest, EveryPartIsInItAndNothingIsFetched) {
  const std::string page = report_page(page_of(Json::array({full_run("a", "classification")})));
  EXPECT_EQ(page.find("{{"), std::string::npos);
  EXPECT_NE(page.find("function lineChart"), std::string::npos);
  EXPECT_NE(page.find("prefers-color-scheme"), std::string::npos);
  EXPECT_NE(page.find("@media print"), std::string::npos);
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
  for (const char* outside : {"src=\"http", "href=\"http", "url(", "@import", "fetch(", "XMLHttpRequest"})
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
}

TEST(PageTest, DataCannotEndTheScript) {
  const std::string page =
      report_page(page_of(Json::array({full_run("</script><script>alert(1)</script>", "classification")})));
  EXPECT_EQ(page.find("alert(1)</script>"), std::string::npos);
  size_t ends = 0;
  for (size_t at = 0; (at = page.find("</script>", at)) != std::string::npos; ++at) ++ends;
  EXPECT_EQ(ends, 2u);
}

TEST(PageTest, DataUrisHoldEveryLength) {
  EXPECT_EQ(data_uri("a/b", ""), "data:a/b;base64,");
  EXPECT_EQ(data_uri("a/b", "f"), "data:a/b;base64,Zg==");
  EXPECT_EQ(data_uri("a/b", "fo"), "data:a/b;base64,Zm8=");
  EXPECT_EQ(data_uri("a/b", "foo"), "data:a/b;base64,Zm9v");
  EXPECT_EQ(data_uri("a/b", "\xff\xfe\xfd\x01"), "data:a/b;base64,//79AQ==");
}

struct BrowserTest : testing::Test {
  void SetUp() override {
    if (test::find_chromium().empty()) GTEST_SKIP() << "no Chromium is installed";
  }
};

TEST_F(BrowserTest, ARunOfEachTaskIsSound) {
  for (const char* task : {"classification", "detection", "segmentation"})
    EXPECT_EQ(faults_of(Json::array({full_run("a_run_with_a_rather_long_name_of_its_own", task)})), "")
        << task;
}

TEST_F(BrowserTest, ABareRunIsSound) { EXPECT_EQ(faults_of(Json::array({bare_run()})), ""); }

TEST_F(BrowserTest, SeveralRunsAreSound) {
  EXPECT_EQ(
      faults_of(Json::array({full_run("first", "detection"), bare_run(), full_run("second", "detection")})),
      "");
}

TEST_F(BrowserTest, VariantsOfAListOfBudgetsAreJoined) {
  Json run = full_run("x", "classification");
  Json& variants = run["result"]["variants"];
  const Json one = variants.begin().value();
  variants = Json::object();
  for (const char* name : {"baseline", "ours_70", "ours_40", "ours_40_int8", "alone_20"})
    variants[name] = one;
  const test::TemporaryDirectory folder;
  const auto faults_with = [&](int families) {
    std::ofstream(folder.path() / "page.html")
        << report_page(page_of(Json::array({run})))
        << "<script>setTimeout(() => { if (document.querySelectorAll('path.family').length !== " << families
        << ") console.error('families'); }, 50);</script>";
    return test::page_faults(folder.path() / "page.html").size();
  };
  EXPECT_EQ(faults_with(1), 0u);
  EXPECT_GT(faults_with(2), 0u) << "the check itself does not see the page";
}

TEST_F(BrowserTest, FaultsAreFound) {
  const test::TemporaryDirectory folder;
  std::ofstream(folder.path() / "page.html")
      << "<main><section><h2>x</h2></section></main><button id=theme></button>"
         "<div style='width:2000px'>wide</div><script>console.error('oh')</script><script>nothing()</script>";
  std::string all;
  for (const std::string& fault : test::page_faults(folder.path() / "page.html")) all += fault + "\n";
  EXPECT_NE(all.find("wide"), std::string::npos) << all;
  EXPECT_NE(all.find("oh"), std::string::npos) << all;
  EXPECT_NE(all.find("nothing is not defined"), std::string::npos) << all;
}

}  // namespace
}  // namespace espalier
