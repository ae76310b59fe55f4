// Includes point one way. The order below is the README's; a file may include its own folder and those it
// lists.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "support/shared.h"

namespace {

namespace fs = std::filesystem;

const std::map<std::string, std::set<std::string>>& allowed() {
  static const std::map<std::string, std::set<std::string>> direct = {
      {"base", {}},
      {"kernels", {"base"}},
      {"tensor", {"kernels"}},
      {"ops", {"tensor"}},
      {"graph", {"ops"}},
      {"nn", {"graph"}},
      {"optim", {"graph"}},
      {"passes", {"nn"}},
      {"io", {"passes"}},
      {"runtime", {"passes"}},
      {"tasks", {"runtime", "io"}},
      {"report", {"io"}},
      {"train", {"tasks", "io", "optim", "report"}},
      {"compress", {"tasks", "io"}},
      {"models", {"nn"}},
      {"datasets", {"io", "tasks"}},
      {"recipe", {"train", "compress", "report", "models", "datasets"}},
      {"api", {"datasets"}},
      {"cli", {"recipe", "api"}},
  };
  static const auto closure = [] {
    auto all = direct;
    for (bool grew = true; grew;) {
      grew = false;
      for (auto& [folder, below] : all)
        for (const std::string& other : std::set<std::string>(below))
          for (const std::string& further : all.at(other)) grew = below.insert(further).second || grew;
    }
    return all;
  }();
  return closure;
}

/// "src/ops/op.h" lies in "ops", "kernels/launch.h" in "kernels".
std::string folder_of(const fs::path& relative) {
  auto part = relative.begin();
  if (*part == "src") ++part;
  return part->string();
}

TEST(FolderRule, IncludesPointOneWay) {
  const fs::path root = espalier::test::source_path("");
  const std::regex include(R"re(^\s*#include "([a-z_]+)/[^"]+")re");
  int files = 0, includes = 0;
  for (const char* top : {"src", "kernels", "models", "datasets"})
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cpp" && extension != ".cu") continue;
      const fs::path relative = fs::relative(entry.path(), root);
      const std::string folder = folder_of(relative);
      ASSERT_TRUE(allowed().contains(folder)) << relative << ": the folder is not in the rule";
      ++files;
      std::ifstream in(entry.path());
      int number = 0;
      for (std::string line; std::getline(in, line);) {
        ++number;
        std::smatch match;
        if (!std::regex_search(line, match, include)) continue;
        const std::string other = match[1];
        ++includes;
        EXPECT_TRUE(other == folder || allowed().at(folder).contains(other))
            << relative.string() << ":" << number << ": " << folder << " may not include " << other;
      }
    }
  EXPECT_GT(files, 50);
  EXPECT_GT(includes, 100);
}

TEST(FolderRule, LaunchReachesCuFilesOnly) {
  // What stands in launch.h is compiled by nvcc; a header that includes it passes the restriction on.
  std::map<std::string, std::set<std::string>> includers;
  const std::regex include(R"re(^\s*#include "(kernels/[^"]+)")re");
  const fs::path root = espalier::test::source_path("");
  for (const char* top : {"src", "kernels", "models", "datasets"})
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path());
      std::smatch match;
      for (std::string line; std::getline(in, line);)
        if (std::regex_search(line, match, include))
          includers[match[1]].insert(fs::relative(entry.path(), root).string());
    }
  std::vector<std::string> restricted = {"kernels/launch.h"};
  size_t seen = 0;
  for (size_t i = 0; i < restricted.size(); ++i)
    for (const std::string& file : includers[restricted[i]]) {
      ++seen;
      if (file.ends_with(".h"))
        restricted.push_back(file);
      else
        EXPECT_TRUE(file.ends_with(".cu")) << file << " includes " << restricted[i];
    }
  EXPECT_GT(seen, 10u);
}

}  // namespace
