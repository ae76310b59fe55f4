#pragma once

#include <string>

namespace espalier {

/// True if the pattern matches the whole text: '*' stands for any characters, '?' for one.
bool matches(const std::string& pattern, const std::string& text);

}  // namespace espalier
