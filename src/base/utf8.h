#pragma once
// The characters of UTF-8 text (RFC 3629).

#include <cstddef>
#include <optional>
#include <string>

namespace espalier {

/// The character at `at`, which moves behind it; none, and one byte further, where there is no whole one.
std::optional<char32_t> next_character(const std::string& text, size_t& at);

/// Whether JSON, and so a model or a result, can hold the text.
bool is_utf8(const std::string& text);

}  // namespace espalier
