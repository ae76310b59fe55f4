#pragma once
// A YAML file as JSON that remembers its lines, so that every complaint can name the place.

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace espalier {

/// Values by path: keys and list indices joined by dots, "stages.2.prune.keep_macs".
struct Document {
  std::string file;
  Json root = Json::object();
  std::map<std::string, std::string> places;  ///< path -> "recipes/x.yaml:12" or "--set data.batch=0"
  std::set<std::string> partly_given;  ///< sections that stand nowhere but in a key of theirs that was set
  std::map<std::string, std::string> texts;  ///< path -> a scalar as it was written
  std::vector<std::string> notes;            ///< for people: what overrides did beside what they say
  bool flags = false;  ///< one step of a command line: what it reads are files, and its keys are flags

  /// Where a path was given; for a path that was not, the nearest enclosing one.
  std::string place(const std::string& path) const;
  /// Throws Error "PLACE: PATH: message".
  [[noreturn]] void fail_at(const std::string& path, const std::string& message) const;
};

/// Reads a YAML file; a bare name that is no file is one of shipped_recipes(). Throws Error with file and
/// line on a syntax error or a key that is given twice.
Document read_yaml(const std::filesystem::path& path);
/// The same from text; `file` is for messages.
Document parse_yaml(const std::string& text, const std::string& file);

/// Sets `path` to the YAML in `value`, as if the document had said so. Sections on the way are made.
/// Returns the value. Throws Error when it is no YAML or the path runs through a scalar or past the end of a
/// list.
Json set_value(Document& document, const std::string& path, const std::string& value,
               const std::string& place);

}  // namespace espalier
