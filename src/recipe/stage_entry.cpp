#include "recipe/stage_entry.h"

#include <vector>

#include "base/nearest.h"
#include "recipe/recipe.h"

namespace espalier {

std::string kind_of(const Document& document, const std::string& path, const Json& entry) {
  std::vector<std::string> kinds;
  for (const StageKind& kind : stage_kinds()) kinds.push_back(kind.name);
  std::string kind;
  if (entry.is_string()) {
    kind = entry.get<std::string>();
  } else if (entry.is_object() && entry.size() == 1) {
    kind = entry.begin().key();
  } else {
    document.fail_at(path,
                     "is " + entry.dump().substr(0, 60) + ", expected 'kind: {keys}', one kind an entry");
  }
  if (!find_stage_kind(kind))
    document.fail_at(path + "." + kind, "unknown kind of stage" + did_you_mean(kind, kinds));
  return kind;
}

const Json& options_of(const Json& entry, const std::string& kind) {
  static const Json empty = Json::object();
  if (entry.is_string() || entry.at(kind).is_null()) return empty;
  return entry.at(kind);
}

std::string name_of(const Json& entry, const std::string& kind) {
  const Json& options = options_of(entry, kind);
  return options.is_object() && options.contains("name") && options.at("name").is_string()
             ? options.at("name").get<std::string>()
             : kind;
}

}  // namespace espalier
