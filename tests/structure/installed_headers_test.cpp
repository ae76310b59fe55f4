// What is installed needs nothing but the standard library and itself.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <string>

#include "support/shared.h"

namespace {

TEST(InstalledHeaders, IncludeTheStandardLibraryAndEachOther) {
  const std::set<std::string> installed = {"api/predictor.h", "tasks/prediction.h"};
  const std::regex include(R"re(^\s*#include (["<])([^">]+)[">])re");
  int includes = 0;
  for (const std::string& header : installed) {
    std::ifstream in(espalier::test::source_path("src/" + header));
    ASSERT_TRUE(in) << header;
    std::smatch match;
    for (std::string line; std::getline(in, line);) {
      if (!std::regex_search(line, match, include)) continue;
      ++includes;
      const std::string name = match[2];
      if (match[1] == "<")
        EXPECT_EQ(name.find_first_of("./"), std::string::npos) << header << " includes " << name;
      else
        EXPECT_TRUE(installed.contains(name)) << header << " includes " << name;
    }
  }
  EXPECT_GT(includes, 5);
}

}  // namespace
