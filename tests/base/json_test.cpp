#include "base/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace espalier {
namespace {

std::string nested(int levels) { return std::string(levels, '[') + std::string(levels, ']'); }

TEST(ParseJson, GivesWhatTheTextSaysAndNothingElse) {
  EXPECT_EQ(parse_json(R"({"b": [1, 2.5], "a": null})").dump(), R"({"b":[1,2.5],"a":null})");
  for (const char* text : {"", "{", "[1,]", "{} x", "nan", "\"\xFF\""})
    EXPECT_TRUE(parse_json(text).is_discarded()) << text;
}

TEST(ParseJson, RefusesWhatCopyingWouldNotSurvive) {
  const Json most = parse_json(nested(kMostJsonLevels));
  EXPECT_EQ(Json(most), most);
  EXPECT_TRUE(parse_json(nested(kMostJsonLevels + 1)).is_discarded());
  EXPECT_TRUE(parse_json(nested(1'000'000)).is_discarded());
  std::string objects;
  for (int i = 0; i < 1000; ++i) objects += R"({"a":)";
  EXPECT_TRUE(parse_json(objects + "1" + std::string(1000, '}')).is_discarded());
}

TEST(JsonInteger, TakesWhatFitsAndCutsNothing) {
  EXPECT_EQ(json_integer(-7), -7);
  EXPECT_EQ(json_integer(2147483647), 2147483647);
  for (const char* text : {"2147483648", "-2147483649", "18446744073709551615", "4294967296", "1.5", "1.0",
                           "1e3", "\"1\"", "true", "null", "[1]"})
    EXPECT_FALSE(json_integer(Json::parse(text))) << text;
}

}  // namespace
}  // namespace espalier
