#pragma once
// Keys of a recipe that are given beside its file.

#include "recipe/document.h"
#include "recipe/recipe.h"

namespace espalier {

/// Puts KEY=VALUE into the document, each noted as its place. A stage's own keys are NAME.KEY. training.KEY
/// is of all train stages, those that say their own too, which are noted; what is said of one stage goes
/// above it, in either order. Throws Error for what is no KEY=VALUE.
void apply_overrides(Document& document, const Overrides& overrides);

}  // namespace espalier
