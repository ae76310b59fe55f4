#pragma once
// result.json: the machine's table of a run, and its forms for people.

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "recipe/recipe.h"

namespace espalier {

/// The result of a run folder. Throws Error when there is none yet.
Json read_result(const std::filesystem::path& run);

/// One line a variant: parameters, file, MACs, metric with interval, test, latency, images/s. Aligned text,
/// or Markdown.
std::string result_table(const Json& result, bool markdown);

/// One bound of a recipe's `expect:` section, checked.
struct Checked {
  std::string key;  ///< "int8.top1_drop"
  double value = 0;
  std::string bounds;  ///< "at most 0.01"
  bool holds = false;
  std::string place;  ///< where the recipe says so
};

/// The quantities of one variant that a bound may name, with what each means; `metric` is "top1".
std::vector<std::pair<std::string, std::string>> bound_quantities(const std::string& metric);
/// The value of "VARIANT.QUANTITY". Throws Error when the run has no such number.
double quantity(const Json& result, const std::string& variant, const std::string& name);
std::vector<Checked> check_bounds(const std::vector<Bound>& bounds, const Json& result);

}  // namespace espalier
