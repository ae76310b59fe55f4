// What the README shows works: its recipes are read, its commands are understood, its code is the code.

#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
#include <set>

#include "command_line.h"
#include "io/file.h"
#include "recipe/recipe.h"
#include "support/shared.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
const fs::path kRoot = test::source_path("");

/// The contents of the README's ```language blocks.
std::vector<std::string> blocks(const std::string& language) {
  const std::string text = read_file(kRoot / "README.md"), mark = "```" + language + "\n";
  std::vector<std::string> found;
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at)) {
    at += mark.size();
    found.push_back(text.substr(at, text.find("```", at) - at));
  }
  return found;
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> all;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) all.push_back(line);
  return all;
}

std::vector<std::string> words(const std::string& line) {
  std::istringstream stream(line.substr(0, line.find(" #")));
  return {std::istream_iterator<std::string>(stream), {}};
}

TEST(ReadmeTest, RecipesAreRecipes) {
  ASSERT_FALSE(blocks("yaml").empty());
  for (const std::string& block : blocks("yaml"))
    EXPECT_NO_THROW(make_recipe(parse_yaml(block, "README.md"), "x"));
}

TEST(ReadmeTest, CommandsAreUnderstood) {
  int commands = 0;
  for (const std::string& block : blocks("sh"))
    for (const std::string& line : lines(block)) {
      std::vector<std::string> arguments = words(line);
      if (arguments.empty()) continue;
      if (arguments[0] == "espalier" || arguments[0] == "build/espalier") {
        arguments.erase(arguments.begin());
        EXPECT_EQ(usage_error(arguments), "") << line;
        ++commands;
      } else {
        EXPECT_TRUE(fs::exists(kRoot / arguments[0])) << line;
      }
    }
  EXPECT_GE(commands, 10);
}

TEST(ReadmeTest, EveryCommandIsInTheTable) {
  const std::string text = read_file(kRoot / "README.md");
  for (const char* command : {"run", "train", "evaluate", "predict", "sensitivity", "prune", "quantize",
                              "bench", "info", "data make", "recipe", "report"})
    EXPECT_NE(text.find(std::string("| `") + command), std::string::npos) << command;
}

TEST(ReadmeTest, CodeIsTheCode) {
  std::string sources;
  for (const char* folder : {"models", "src", "datasets", "tests/api/app"})
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder))
      if (std::set<std::string>{".cpp", ".h", ".txt"}.contains(entry.path().extension()))
        sources += read_file(entry.path());
  for (const char* language : {"cpp", "cmake"}) {
    ASSERT_FALSE(blocks(language).empty());
    for (const std::string& block : blocks(language))
      EXPECT_NE(sources.find(block), std::string::npos) << block;
  }
}

TEST(ReadmeTest, NamedFilesExist) {
  const std::string text = read_file(kRoot / "README.md");
  const std::regex path("`((?:src|kernels|models|datasets|recipes|tests|scripts)/[A-Za-z0-9_/.]*)`");
  int found = 0;
  for (std::sregex_iterator at(text.begin(), text.end(), path), end; at != end; ++at) {
    const std::string name = (*at)[1];
    if (name.find("/x") != std::string::npos) continue;  // "a file of your own"
    EXPECT_TRUE(fs::exists(kRoot / name)) << name;
    ++found;
  }
  EXPECT_GE(found, 8);
}

TEST(RecipesTest, ShippedRecipesAreRead) {
  int found = 0;
  for (const auto& entry : fs::directory_iterator(kRoot / "recipes"))
    if (entry.path().extension() == ".yaml") {
      EXPECT_NO_THROW(load_recipe(entry.path())) << entry.path();
      ++found;
    }
  EXPECT_GE(found, 3);
}

}  // namespace
}  // namespace espalier
