#pragma once
// Where the recipes and the sensitivities lie that come with the program.

#include <filesystem>

namespace espalier {

/// $ESPALIER_RECIPES; else ../share/espalier/recipes beside the program, as it is installed; else the source
/// folder's recipes/.
std::filesystem::path shipped_recipes();

}  // namespace espalier
