#include "tasks/options.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/nearest.h"

namespace espalier {

TaskOptions::TaskOptions(std::string task, const Json& given, const std::vector<std::string>& known)
    : task_(std::move(task)), given_(given) {
  for (const auto& [key, value] : given.items())
    ESPALIER_CHECK(std::find(known.begin(), known.end(), key) != known.end(), task_, ": unknown option '",
                   key, "'", did_you_mean(key, known));
}

const Json* TaskOptions::find(const char* key) const {
  const auto at = given_.find(key);
  return at == given_.end() || at->is_null() ? nullptr : &*at;
}

void TaskOptions::reject(const char* key, const std::string& expected) const {
  fail(str(task_, ": ", key, " is ", given_.at(key).dump(), "; ", expected));
}

double TaskOptions::number(const char* key, double fallback, double low, double high) const {
  const Json* value = find(key);
  if (!value) return fallback;
  if (!value->is_number() || !(value->get<double>() >= low && value->get<double>() <= high))
    reject(key, str("it must be a number in ", low, " .. ", high));
  return value->get<double>();
}

int TaskOptions::integer(const char* key, int fallback, int low, int high) const {
  const Json* value = find(key);
  if (!value) return fallback;
  if (!value->is_number_integer() || value->get<int64_t>() < low || value->get<int64_t>() > high)
    reject(key, str("it must be a whole number in ", low, " .. ", high));
  return value->get<int>();
}

bool TaskOptions::boolean(const char* key, bool fallback) const {
  const Json* value = find(key);
  if (!value) return fallback;
  if (!value->is_boolean()) reject(key, "it must be true or false");
  return value->get<bool>();
}

std::string TaskOptions::choice(const char* key, const char* fallback,
                                const std::vector<std::string>& choices) const {
  const Json* value = find(key);
  if (!value) return fallback;
  std::string known;
  for (const std::string& choice : choices) {
    if (*value == choice) return choice;
    known += (known.empty() ? "" : ", ") + choice;
  }
  reject(key, "it must be one of " + known);
}

double TaskOptions::smoothing(const char* key) const {
  const Json* value = find(key);
  if (!value) return 0;
  if (!value->is_number() || !(value->get<double>() >= 0 && value->get<double>() < 1))
    reject(key, "it must lie in [0, 1)");
  return value->get<double>();
}

std::vector<float> TaskOptions::class_weights(const char* key, int classes) const {
  const Json* value = find(key);
  if (!value) return {};
  if (!value->is_array() || static_cast<int>(value->size()) != classes)
    reject(key, str("a list of ", classes, " numbers is needed, one a class"));
  std::vector<float> weights;
  for (const Json& weight : *value) {
    ESPALIER_CHECK(weight.is_number() && weight.get<double>() >= 0 && std::isfinite(weight.get<float>()),
                   task_, ": ", key, " has ", weight.dump(), "; weights cannot be negative");
    weights.push_back(weight.get<float>());
  }
  ESPALIER_CHECK(std::any_of(weights.begin(), weights.end(), [](float w) { return w > 0; }), task_, ": ", key,
                 " are all 0; nothing would be learned");
  return weights;
}

std::vector<std::vector<float>> TaskOptions::rows(const char* key, size_t width,
                                                  std::vector<std::vector<float>> fallback) const {
  const Json* value = find(key);
  if (!value) return fallback;
  const std::string expected = str("a list of lists of ", width, " numbers is needed");
  if (!value->is_array() || value->empty()) reject(key, expected);
  std::vector<std::vector<float>> rows;
  for (const Json& row : *value) {
    if (!row.is_array() || row.size() != width) reject(key, expected);
    std::vector<float>& numbers = rows.emplace_back();
    for (const Json& number : row) {
      if (!number.is_number() || !std::isfinite(number.get<float>())) reject(key, expected);
      numbers.push_back(number.get<float>());
    }
  }
  return rows;
}

}  // namespace espalier
