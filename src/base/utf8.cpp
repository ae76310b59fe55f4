#include "base/utf8.h"

#include <cstdint>

namespace espalier {

std::optional<char32_t> next_character(const std::string& text, size_t& at) {
  const auto lead = static_cast<uint8_t>(text[at++]);
  if (lead < 0x80) return lead;
  if (lead < 0xC2 || lead > 0xF4) return std::nullopt;
  const size_t more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  char32_t code = lead & (0x3Fu >> more);
  for (size_t i = 0; i < more; ++i) {
    if (at + i >= text.size() || (static_cast<uint8_t>(text[at + i]) & 0xC0) != 0x80) return std::nullopt;
    code = code << 6 | (static_cast<uint8_t>(text[at + i]) & 0x3Fu);
  }
  constexpr char32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if (code < kLeast[more] || surrogate || code > 0x10FFFF) return std::nullopt;
  at += more;
  return code;
}

bool is_utf8(const std::string& text) {
  for (size_t at = 0; at < text.size();)
    if (!next_character(text, at)) return false;
  return true;
}

}  // namespace espalier
