// The machine's table, its forms for people, and the bounds that decide the exit status.

#include "recipe/result.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/error.h"
#include "support/messages.h"
#include "support/temporary_directory.h"

namespace espalier {
namespace {

Json variant(double value, int64_t bytes, double ms) {
  return {{"parameters", 2237770},
          {"bytes", bytes},
          {"macs", 300e6},
          {"val", {{"value", value}, {"low", value - 0.01}, {"high", value + 0.01}, {"samples", 200}}},
          {"latency_ms", {{"median", ms}, {"p95", ms + 1}}},
          {"images_per_second", 100.0}};
}

Json result() {
  Json r = {{"task", "classification"},
            {"metric", "top1"},
            {"device", "cpu"},
            {"threads", 2},
            {"throughput_batch", 32}};
  r["variants"]["baseline"] = variant(0.9, 9000000, 4);
  r["variants"]["int8"] = variant(0.88, 2500000, 2);
  r["variants"]["int8"]["source"] = "baseline";
  return r;
}

Checked check(const std::string& variant, const std::string& quantity, std::optional<double> min,
              std::optional<double> max) {
  return check_bounds({{variant, quantity, min, max, "r.yaml:3"}}, result()).at(0);
}

TEST(ResultTest, QuantitiesAreRelativeToWhatAVariantWasMadeFrom) {
  EXPECT_EQ(quantity(result(), "baseline", "top1"), 0.9);
  EXPECT_NEAR(quantity(result(), "int8", "top1_drop"), 0.02, 1e-12);
  EXPECT_NEAR(quantity(result(), "int8", "bytes_share"), 2.5 / 9, 1e-12);
  EXPECT_EQ(quantity(result(), "int8", "speedup"), 2);
  EXPECT_EQ(quantity(result(), "int8", "latency_ms"), 2);
  EXPECT_EQ(quantity(result(), "int8", "macs_share"), 1);
  EXPECT_THROW(quantity(result(), "baseline", "top1_drop"), Error);
  EXPECT_THROW(quantity(result(), "baseline", "top1_test"), Error);
  EXPECT_THROW(quantity(result(), "pruned", "top1"), Error);
}

TEST(ResultTest, EveryQuantityThatARecipeMayNameHasAValue) {
  Json r = result();
  for (auto& [name, v] : r["variants"].items()) v["test"] = v["val"];
  for (const auto& [name, help] : bound_quantities("top1"))
    EXPECT_TRUE(std::isfinite(quantity(r, "int8", name))) << name;
}

TEST(ResultTest, BoundsHoldOrDoNot) {
  EXPECT_TRUE(check("baseline", "top1", 0.9, {}).holds);
  EXPECT_FALSE(check("baseline", "top1", 0.9001, {}).holds);
  EXPECT_TRUE(check("int8", "top1_drop", {}, 0.021).holds);
  EXPECT_FALSE(check("int8", "top1_drop", {}, 0.019).holds);
  EXPECT_FALSE(check("baseline", "top1", 0.1, 0.2).holds);
  EXPECT_EQ(check("baseline", "top1", 0.1, 0.2).bounds, "at least 0.1 and at most 0.2");
  EXPECT_EQ(check("baseline", "top1", {}, 0.2).key, "baseline.top1");
}

TEST(ResultTest, ADamagedFileIsSaidWithItsName) {
  const test::TemporaryDirectory run;
  const auto message = [&](const auto& edit) {
    Json r = result();
    edit(r);
    std::ofstream(run.path() / "result.json") << r;
    return test::message_of([&] { read_result(run.path()); });
  };
  EXPECT_EQ(message([](Json&) {}), "");
  for (const char* key : {"metric", "task", "threads"})
    for (const Json& value : {Json(nullptr), Json(Json::value_t::object)})
      test::expect_says(message([&](Json& r) { r[key] = value; }),
                        "result.json: lacks something or is damaged");
  test::expect_says(message([](Json& r) { r["variants"]["int8"] = 3; }), "result.json: lacks something");
  test::expect_says(message([](Json& r) { r["variants"]["int8"].erase("macs"); }),
                    "result.json: lacks something");
}

TEST(ResultTest, NotANumberHoldsNoBound) {
  Json r = result();
  r["variants"]["baseline"]["val"]["value"] = std::nan("");
  EXPECT_FALSE(check_bounds({{"baseline", "top1", 0.0, {}, ""}}, r).at(0).holds);
}

TEST(ResultTest, TableHasALineAVariantAndEqualWidths) {
  const std::string text = result_table(result(), false);
  EXPECT_NE(text.find("2,237,770"), std::string::npos) << text;
  EXPECT_NE(text.find("89.0-91.0"), std::string::npos) << text;
  std::vector<size_t> widths;
  for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
    widths.push_back(end - at);
  ASSERT_EQ(widths.size(), 5u) << text;  // head, rule, two variants, note
  EXPECT_EQ(widths[0], widths[2]);
  EXPECT_EQ(widths[0], widths[3]);
}

TEST(ResultTest, MarkdownIsATable) {
  const std::string text = result_table(result(), true);
  EXPECT_EQ(text[0], '|');
  EXPECT_NE(text.find("|---|--:|"), std::string::npos) << text;
  EXPECT_NE(text.find("| int8 "), std::string::npos) << text;
}

TEST(ResultTest, TestColumnOnlyWithATestList) {
  EXPECT_EQ(result_table(result(), false).find("test"), std::string::npos);
  Json r = result();
  r["variants"]["baseline"]["test"] = r["variants"]["baseline"]["val"];
  EXPECT_NE(result_table(r, false).find("test %"), std::string::npos);
}

TEST(ResultTest, AFolderWithoutResultSaysWhereItComesFrom) {
  try {
    read_result("/nowhere");
    FAIL() << "expected an error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("espalier run"), std::string::npos);
  }
}

}  // namespace
}  // namespace espalier
