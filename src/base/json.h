#pragma once
// nlohmann::json under one short name. Ordered, so that files keep the order in which they were written.

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>

namespace espalier {
using Json = nlohmann::ordered_json;

/// Of lists and objects in each other. Copying, comparing and writing call themselves for each, so a file of
/// a hundred thousand brackets would end the program.
constexpr int kMostJsonLevels = 100;

/// What a file or another program wrote; discarded (is_discarded(), and of no type) where the text is no
/// JSON, or deeper than kMostJsonLevels.
Json parse_json(std::string_view text);

/// A whole number of 32 bits; none for what is something else or does not fit, which get<int>() would cut.
std::optional<int> json_integer(const Json& json);
}  // namespace espalier
