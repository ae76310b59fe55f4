#pragma once
// nlohmann::json under one short name. Ordered, so that files keep the order in which they were written.

#include <nlohmann/json_fwd.hpp>

namespace espalier {
using Json = nlohmann::ordered_json;
}
