#include "recipe/document.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <system_error>

#include <yaml-cpp/yaml.h>

#include "base/error.h"
#include "base/nearest.h"
#include "base/shipped.h"
#include "base/utf8.h"
#include "io/file.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

std::string join(const std::string& path, const std::string& key) {
  return path.empty() ? key : path + "." + key;
}

/// A plain scalar by YAML's core schema: null, true/false, integer, number, else text.
Json scalar(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;  // quoted
  if (text.empty() || text == "~" || text == "null") return nullptr;
  if (text == "true") return true;
  if (text == "false") return false;
  int64_t integer = 0;
  const char *first = text.data() + (text[0] == '+'), *last = text.data() + text.size();
  if (const auto [end, error] = std::from_chars(first, last, integer); error == std::errc() && end == last)
    return integer;
  double number = 0;
  if (const auto [end, error] = std::from_chars(first, last, number);
      error == std::errc() && end == last && std::isfinite(number))
    return number;
  return text;
}

class Reader {
 public:
  Reader(Document& document, std::string fixed_place) : document_(document), fixed_(std::move(fixed_place)) {}

  Json read(const YAML::Node& node, const std::string& path, int level = 0) {
    // An alias (*name) may stand for what holds it, and ten of ten of ten ... for more than memory holds.
    constexpr int kMostValues = 100'000;
    ESPALIER_CHECK(level <= kMostJsonLevels && ++values_ <= kMostValues, where(node),
                   ": there are more than ", kMostJsonLevels, " lists and keys in each other or more than ",
                   kMostValues, " values; leave some out (an alias stands for all that it names)");
    document_.places[path] = where(node);
    switch (node.Type()) {
      case YAML::NodeType::Scalar:
        check_text(node);
        document_.texts[path] = node.Scalar();
        return scalar(node);
      case YAML::NodeType::Sequence: {
        Json list = Json::array();
        for (size_t i = 0; i < node.size(); ++i)
          list.push_back(read(node[i], join(path, std::to_string(i)), level + 1));
        return list;
      }
      case YAML::NodeType::Map: {
        Json map = Json::object();
        for (const auto& entry : node) {
          ESPALIER_CHECK(entry.first.IsScalar(), where(entry.first), ": a key must be a word");
          check_text(entry.first);
          const std::string& key = entry.first.Scalar();
          ESPALIER_CHECK(!map.contains(key), where(entry.first), ": ", join(path, key),
                         " is given twice; remove one");
          map[key] = read(entry.second, join(path, key), level + 1);
          if (fixed_.empty()) document_.places[join(path, key)] = where(entry.first);
        }
        return map;
      }
      default:
        return nullptr;
    }
  }

 private:
  /// Records and model files are JSON, which holds no other text.
  void check_text(const YAML::Node& node) const {
    ESPALIER_CHECK(is_utf8(node.Scalar()), where(node), ": '", node.Scalar(),
                   "' is no UTF-8 text; save the file as UTF-8, and rename what is named here");
  }
  std::string where(const YAML::Node& node) const {
    if (!fixed_.empty()) return fixed_;
    return node.Mark().is_null() ? document_.file : str(document_.file, ":", node.Mark().line + 1);
  }

  Document& document_;
  std::string fixed_;
  int values_ = 0;
};

/// A bare name that is no file is one of the shipped recipes'.
fs::path recipe_file(const fs::path& given) {
  if (fs::exists(given) || given.empty() || given.has_parent_path() || given.has_extension()) return given;
  const fs::path folder = shipped_recipes();
  fs::path file = folder / (given.string() + ".yaml");
  if (fs::exists(file)) return file;
  std::vector<std::string> names;
  std::error_code unknown;
  for (const auto& entry : fs::directory_iterator(folder, unknown))
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  fail(str(given.string(), ": there is no such file, and no such recipe in ", folder.string(),
           did_you_mean(given.string(), names)));
}

}  // namespace

std::string Document::place(const std::string& path) const {
  for (std::string p = path;;) {
    const auto found = places.find(p);
    if (found != places.end() && (p == path || !partly_given.contains(p))) return found->second;
    if (p.empty()) return file;
    const size_t dot = p.rfind('.');
    p.resize(dot == std::string::npos ? 0 : dot);
  }
}

void Document::fail_at(const std::string& path, const std::string& message) const {
  fail(str(place(path), ": ", path.empty() ? "" : path + ": ", message));
}

Document parse_yaml(const std::string& text, const std::string& file) {
  Document document;
  document.file = file;
  try {
    const YAML::Node root = YAML::Load(text);
    document.root = Reader(document, "").read(root, "");
    if (document.root.is_null()) document.root = Json::object();
    if (!document.root.is_object()) fail(file + ":1: this is no recipe: expected 'key: value' lines");
  } catch (const YAML::Exception& e) {
    fail(str(file, ":", e.mark.is_null() ? 1 : e.mark.line + 1, ": not valid YAML: ", e.msg));
  }
  return document;
}

Document read_yaml(const fs::path& path) {
  const fs::path file = recipe_file(path);
  return parse_yaml(read_file(file), file.string());
}

Json set_value(Document& document, const std::string& path, const std::string& value,
               const std::string& place) {
  Json parsed;
  Document given;
  given.file = place;
  try {
    parsed = Reader(given, place).read(YAML::Load(value), path);
  } catch (const YAML::Exception&) {
    parsed = value;  // text like *expand*
    given.places[path] = place;
  }
  given.texts.try_emplace(path,
                          value);  // {split}2017 is a map to YAML and the name of a folder to a text key
  Json* at = &document.root;
  std::string walked;
  for (size_t begin = 0; begin <= path.size();) {
    size_t end = std::min(path.find('.', begin), path.size());
    // A bound's key is stage.quantity.
    if (walked == "expect" && end < path.size()) end = std::min(path.find('.', end + 1), path.size());
    const std::string key = path.substr(begin, end - begin);
    begin = end + 1;
    ESPALIER_CHECK(!key.empty() && is_utf8(key), place, ": expected KEY=VALUE with a key like data.batch");
    if (at->is_array()) {
      size_t index = at->size();
      const auto [last, error] = std::from_chars(key.data(), key.data() + key.size(), index);
      ESPALIER_CHECK(error == std::errc() && last == key.data() + key.size() && index < at->size(), place,
                     ": ", walked, " is a list of ", at->size(), "; '", key, "' is none of its indices");
      at = &(*at)[index];
    } else {
      if (at->is_null()) *at = Json::object();
      ESPALIER_CHECK(at->is_object(), place, ": ", walked, " is ", at->dump(), ", which has no keys");
      at = &(*at)[key];
    }
    walked = join(walked, key);
    if (!document.places.contains(walked)) {
      document.places[walked] = place;
      if (walked != path) document.partly_given.insert(walked);
    }
  }
  *at = parsed;
  const auto below = [&](const auto& entry) { return entry.first.starts_with(path + "."); };
  std::erase_if(document.places, below);
  std::erase_if(document.texts, below);
  document.partly_given.erase(path);
  for (auto& [p, where] : given.places) document.places[p] = where;
  document.texts.erase(path);
  for (auto& [p, text] : given.texts) document.texts[p] = text;
  return parsed;
}

}  // namespace espalier
