#include "recipe/earlier_record.h"

#include "recipe/recipe.h"

namespace espalier {

namespace {

void add_defaults(Json& before, const Json& now, const std::vector<Key>& keys) {
  for (const Key& key : keys) {
    if (!now.contains(key.name)) continue;
    if (!before.contains(key.name)) {
      if (key.kind != Key::Kind::kSection) before[key.name] = key.fallback;
    } else if (key.kind == Key::Kind::kSection && before[key.name].is_object()) {
      add_defaults(before[key.name], now[key.name], key.keys);
    }
  }
}

/// `now` has the options of its model and no others.
void take_model_options(Json& before, const Json& now) {
  const Json known = find_model(now.at("name")).options;
  for (const auto& [option, about] : known.items())
    if (!before.contains(option)) before[option] = about.at("default");
  Json own = Json::object();
  for (const auto& [key, value] : before.items())
    if (now.contains(key)) own[key] = value;
  before = own;
}

}  // namespace

Json as_of_today(const Json& before, const Json& now) {
  Json inputs = before;
  const StageKind* kind = find_stage_kind(now.value("kind", ""));
  if (kind && inputs.value("options", Json()).is_object())
    add_defaults(inputs["options"], now.at("options"), kind->keys);
  if (now.value("model", Json()).is_object() && inputs.value("model", Json()).is_object())
    take_model_options(inputs["model"], now.at("model"));
  return inputs;
}

}  // namespace espalier
