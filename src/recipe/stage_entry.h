#pragma once
// An entry of a recipe's stages as it is written, before its keys are checked.

#include <string>

#include "recipe/document.h"

namespace espalier {

/// A stage entry is "kind: {keys}" or the bare word "kind". Throws Error, at `path` of the document, for
/// anything else.
std::string kind_of(const Document& document, const std::string& path, const Json& entry);

/// Its keys; none of a bare word.
const Json& options_of(const Json& entry, const std::string& kind);

/// What it calls itself, or else its kind.
std::string name_of(const Json& entry, const std::string& kind);

}  // namespace espalier
