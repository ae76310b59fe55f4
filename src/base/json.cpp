#include "base/json.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace espalier {

Json parse_json(std::string_view text) {
  bool too_deep = false;
  const auto keep = [&](int depth, Json::parse_event_t event, Json&) {
    const bool opens =
        event == Json::parse_event_t::array_start || event == Json::parse_event_t::object_start;
    too_deep = too_deep || (opens && depth >= kMostJsonLevels);
    return !too_deep;
  };
  Json json = Json::parse(text.begin(), text.end(), keep, false);
  return too_deep ? Json(Json::value_t::discarded) : json;
}

std::optional<int> json_integer(const Json& json) {
  if (!json.is_number_integer()) return {};
  const bool fits = json.is_number_unsigned() ? std::in_range<int>(json.get<uint64_t>())
                                              : std::in_range<int>(json.get<int64_t>());
  return fits ? std::optional(json.get<int>()) : std::nullopt;
}

}  // namespace espalier
