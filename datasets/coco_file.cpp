#include "datasets/coco_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/nearest.h"
#include "io/file.h"

namespace espalier {

namespace fs = std::filesystem;

Json read_coco_file(const fs::path& path) {
  const std::string text = read_file(path);
  const auto keep = [&](int depth, Json::parse_event_t event, Json& parsed) {
    ESPALIER_CHECK(depth <= kMostJsonLevels, path.string(), ": has more than ", kMostJsonLevels,
                   " lists and objects in each other; a file as of the COCO detection task is expected");
    return event != Json::parse_event_t::key || parsed != "segmentation";
  };
  try {
    return Json::parse(text, keep);
  } catch (const Json::exception& error) {
    std::string what = error.what();  // "[json.exception...] parse error at line 1, column 9: ..."
    if (const size_t bracket = what.find("] "); bracket != std::string::npos) what.erase(0, bracket + 2);
    std::replace(what.begin(), what.end(), '\n', ' ');
    fail(str(path.string(), ": is no whole JSON file (", what, "); fetch it again or correct it"));
  }
}

const Json& coco_table(const Json& json, const char* key, const fs::path& path) {
  ESPALIER_CHECK(json.is_object() && json.contains(key) && json.at(key).is_array(), path.string(),
                 ": has no list '", key, "'; a file as of the COCO detection task is expected");
  return json.at(key);
}

int64_t coco_integer(const Json& json, const char* key, int64_t fallback) {
  const auto found = json.find(key);
  if (found == json.end()) return fallback;
  if (found->is_number_integer()) return found->get<int64_t>();
  if (found->is_boolean()) return found->get<bool>();
  constexpr double kExact = 9007199254740992;  // up to here a double holds every whole number
  if (found->is_number()) {
    const double value = found->get<double>();
    return std::abs(value) <= kExact && value == std::trunc(value) ? static_cast<int64_t>(value) : fallback;
  }
  if (!found->is_string()) return fallback;
  const std::string& text = found->get_ref<const std::string&>();
  int64_t value = 0;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && stop == text.data() + text.size() ? value : fallback;
}

std::map<int64_t, std::string> coco_categories(const Json& categories, const fs::path& path) {
  std::map<int64_t, std::string> names;
  for (const Json& category : categories) {
    const int64_t id = category.is_object() ? coco_integer(category, "id", kNoInteger) : kNoInteger;
    ESPALIER_CHECK(id != kNoInteger && category.contains("name") && category.at("name").is_string(),
                   path.string(), ": the category ", category.dump().substr(0, 60),
                   " has no id or name; add them");
    ESPALIER_CHECK(names.emplace(id, category.at("name").get<std::string>()).second, path.string(),
                   ": two categories have the id ", id, "; give each its own");
  }
  ESPALIER_CHECK(!names.empty(), path.string(), ": names no categories; add them");
  return names;
}

CocoNumbers::CocoNumbers(const fs::path& path) : path_(path) {
  const Json json = read_coco_file(path);
  categories_ = coco_categories(coco_table(json, "categories", path), path);
  for (const Json& image : coco_table(json, "images", path)) {
    const int64_t id = image.is_object() ? coco_integer(image, "id", kNoInteger) : kNoInteger;
    ESPALIER_CHECK(id != kNoInteger && image.contains("file_name") && image.at("file_name").is_string(),
                   path.string(), ": the image ", image.dump().substr(0, 60),
                   " has no id or file_name; add them");
    const fs::path file = image.at("file_name").get<std::string>();
    images_.emplace(file.filename().string(), std::pair(file.lexically_normal(), id));
  }
}

int64_t CocoNumbers::image(const std::string& file) const {
  const fs::path wanted = fs::absolute(file).lexically_normal();
  const auto [first, last] = images_.equal_range(wanted.filename().string());
  ESPALIER_CHECK(first != last, file, ": ", path_.string(), " has no image of this file_name",
                 "; leave the picture out, or add it there");
  if (std::next(first) == last) return first->second.second;
  const auto in_its_folder = [&](const auto& image) {
    return wanted.string().ends_with(str("/", image.second.first.string()));
  };
  const auto found = std::find_if(first, last, in_its_folder);
  ESPALIER_CHECK(found != last && std::find_if(std::next(found), last, in_its_folder) == last, file, ": ",
                 path_.string(), " has several images of this name, and their folders do not tell which",
                 "; name the folders of pictures as their file_name does");
  return found->second.second;
}

std::vector<int64_t> CocoNumbers::categories(const std::vector<std::string>& labels) const {
  std::vector<std::string> names;
  for (const auto& [id, name] : categories_) names.push_back(name);
  std::vector<int64_t> ids;
  for (const std::string& label : labels) {
    const auto found = std::find_if(categories_.begin(), categories_.end(),
                                    [&](const auto& category) { return category.second == label; });
    ESPALIER_CHECK(found != categories_.end(), path_.string(), ": has no category '", label,
                   "', which the model knows", did_you_mean(label, names));
    ids.push_back(found->first);
  }
  return ids;
}

}  // namespace espalier
