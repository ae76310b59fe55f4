// --set KEY=VALUE of a command line.

#include "recipe/overrides.h"

#include <string_view>

#include "base/error.h"
#include "recipe/stage_entry.h"

namespace espalier {

namespace {

/// "control.epochs" becomes "stages.1.train.epochs" when a stage is called control.
std::string stage_path(const Document& document, const std::string& key) {
  const std::string first = key.substr(0, key.find('.'));
  for (const Key& top : recipe_keys())
    if (top.name == first) return key;
  if (!document.root.contains("stages") || !document.root.at("stages").is_array()) return key;
  const Json& stages = document.root.at("stages");
  for (size_t i = 0; i < stages.size(); ++i) {
    const std::string kind = kind_of(document, str("stages.", i), stages[i]);
    if (name_of(stages[i], kind) == first && key.size() > first.size())
      return str("stages.", i, ".", kind, key.substr(first.size()));
  }
  return key;
}

/// Takes the key at `rest` ("optimizer.lr") out of a section, and all of `given` where that is one.
bool take_out(Json& section, const std::string& rest, const Json& given) {
  if (!section.is_object()) return false;
  const size_t dot = rest.find('.');
  const auto found = section.find(rest.substr(0, dot));
  if (found == section.end()) return false;
  if (dot != std::string::npos) return take_out(*found, rest.substr(dot + 1), given);
  if (!given.is_object() || !found->is_object()) {
    section.erase(found);
    return true;
  }
  bool any = false;
  for (const auto& [key, value] : given.items()) any |= take_out(*found, key, value);
  return any;
}

/// Who says training.epochs=2 wants it of all trainings, whatever they say themselves.
void set_all_trainings(Document& document, const std::string& key, const Json& given,
                       const std::string& place) {
  if (!document.root.contains("stages") || !document.root.at("stages").is_array()) return;
  Json& stages = document.root.at("stages");
  for (size_t i = 0; i < stages.size(); ++i) {
    if (kind_of(document, str("stages.", i), stages[i]) != "train") continue;
    if (!take_out(stages[i].at("train"), key, given)) continue;
    const std::string path = str("stages.", i, ".train.", key);
    std::erase_if(document.places, [&](const auto& entry) {
      return entry.first == path || entry.first.starts_with(path + ".");
    });
    document.notes.push_back(place + ": " + name_of(stages[i], "train") +
                             " takes it too, in place of its own");
  }
}

void apply_override(Document& document, const std::string& override) {
  const size_t equals = override.find('=');
  const std::string place = "--set " + override;
  const std::string path = stage_path(document, override.substr(0, equals));
  // A stage written as a bare word becomes one with keys.
  if (document.root.contains("stages") && document.root.at("stages").is_array())
    for (Json& entry : document.root.at("stages"))
      if (entry.is_string()) entry = Json{{entry.get<std::string>(), Json::object()}};
  const Json given = set_value(document, path, override.substr(equals + 1), place);
  constexpr std::string_view kShared = "training.";
  // Flags of a step alone are said of it.
  if (path.starts_with(kShared) && !document.flags)
    set_all_trainings(document, path.substr(kShared.size()), given, place);
}

}  // namespace

void apply_overrides(Document& document, const Overrides& overrides) {
  for (const std::string& override : overrides) {
    const size_t equals = override.find('=');
    ESPALIER_CHECK(equals != std::string::npos && equals > 0, "--set ", override,
                   ": expected KEY=VALUE, for example data.batch=16");
  }
  // What is said of one stage goes above what is said of all, in either order.
  for (const bool shared : {true, false})
    for (const std::string& override : overrides)
      if (override.starts_with("training.") == shared) apply_override(document, override);
}

}  // namespace espalier
