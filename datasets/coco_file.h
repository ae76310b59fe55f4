#pragma once
// What a COCO annotation file names: pictures and categories, and the numbers it gives them.

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace espalier {

/// Without the outlines, which nothing here reads and which are most of the file. Throws Error.
Json read_coco_file(const std::filesystem::path& path);

/// The array `key` of the file. Throws Error.
const Json& coco_table(const Json& json, const char* key, const std::filesystem::path& path);

constexpr int64_t kNoInteger = std::numeric_limits<int64_t>::min();
/// The whole number of `key`, which tables of other programs write as 3.0 or "3" too, and flags as true.
int64_t coco_integer(const Json& json, const char* key, int64_t fallback);

/// The names of the file's categories by their ids. Throws Error.
std::map<int64_t, std::string> coco_categories(const Json& categories, const std::filesystem::path& path);

/// The numbers that results need to be evaluated against an annotation file.
class CocoNumbers {
 public:
  explicit CocoNumbers(const std::filesystem::path& path);

  /// The id of the picture that has this file's name; of several, the one whose folders are the file's too.
  /// Throws Error when there is none.
  int64_t image(const std::string& file) const;
  /// The id of each label by its name. Throws Error when one is no category.
  std::vector<int64_t> categories(const std::vector<std::string>& labels) const;

 private:
  std::filesystem::path path_;
  std::map<int64_t, std::string> categories_;
  std::multimap<std::string, std::pair<std::filesystem::path, int64_t>> images_;  ///< by name without folders
};

}  // namespace espalier
