#pragma once
// A whole recipe: what is to do, doing it, and what came of it.

#include <filesystem>
#include <string>

#include "recipe/recipe.h"

namespace espalier {

/// One line a stage: what it does, from which model, whether it is done, would continue or runs again and
/// why. Looks only; nothing is made. Throws Error for what would be refused on the way.
std::string plan_text(const Recipe& recipe, const std::filesystem::path& out);

/// Runs every stage that is not done, evaluates and times every variant, and writes out/result.json, which it
/// returns. The result's "expect" lists every bound with "holds". Interrupted by Ctrl-C it throws Interrupted
/// after the running stage has saved what it has; the same call continues.
Json run_recipe(const Recipe& recipe, const std::filesystem::path& out);

/// The stages alone, without timing and result.json: name -> what the stage measured.
Json run_stages(const Recipe& recipe, const std::filesystem::path& out);

}  // namespace espalier
