#include "base/utf8.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace espalier {
namespace {

TEST(Utf8, IsWhatJsonCanHold) {
  const std::string valid[] = {"",
                               "leek",
                               std::string("a\0b", 3),
                               "gr\xC3\xB6\xC3\x9F"
                               "e",
                               "\xE6\x97\xA5",
                               "\xF0\x9F\xA5\x95",
                               "\xEF\xBF\xBF",
                               "\xF4\x8F\xBF\xBF"};
  for (const std::string& text : valid) EXPECT_TRUE(is_utf8(text)) << text;
  const std::string invalid[] = {"caf\xE9",
                                 "gr\xF6\xDF"
                                 "e",
                                 "\xFF\xFE",
                                 "\x80",
                                 "\xC3",
                                 "\xE6\x97",
                                 "\xF0\x9F\xA5",
                                 "\xC0\xAF",
                                 "\xE0\x9F\xBF",
                                 "\xED\xA0\x80",
                                 "\xF0\x8F\xBF\xBF",
                                 "\xF4\x90\x80\x80",
                                 "\xF8\x88\x80\x80",
                                 "\xC3(",
                                 "\xE6(\xA5"};
  for (const std::string& text : invalid) {
    EXPECT_FALSE(is_utf8(text)) << text;
    EXPECT_THROW(Json(text).dump(), std::exception);
  }
}

TEST(Utf8, GivesOneCharacterAfterAnother) {
  const std::string text = "a\xC3\xB6\xE9\xF0\x9F\xA5\x95";
  size_t at = 0;
  EXPECT_EQ(next_character(text, at), U'a');
  EXPECT_EQ(next_character(text, at), U'\u00F6');
  EXPECT_EQ(next_character(text, at), std::nullopt);
  EXPECT_EQ(next_character(text, at), U'\U0001F955');
  EXPECT_EQ(at, text.size());
}

}  // namespace
}  // namespace espalier
