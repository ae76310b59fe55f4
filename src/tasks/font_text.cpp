// Names of classes in the letters that the font has.

#include <iterator>

#include "base/utf8.h"
#include "tasks/font.h"

namespace espalier {

namespace {

// clang-format off
constexpr const char* kLatin[] = {  // U+00C0 to U+017F
    "A", "A", "A", "A", "A", "A", "AE", "C", "E", "E", "E", "E", "I", "I", "I", "I",
    "D", "N", "O", "O", "O", "O", "O", "x", "O", "U", "U", "U", "U", "Y", "Th", "ss",
    "a", "a", "a", "a", "a", "a", "ae", "c", "e", "e", "e", "e", "i", "i", "i", "i",
    "d", "n", "o", "o", "o", "o", "o", "?", "o", "u", "u", "u", "u", "y", "th", "y",
    "A", "a", "A", "a", "A", "a", "C", "c", "C", "c", "C", "c", "C", "c", "D", "d",
    "D", "d", "E", "e", "E", "e", "E", "e", "E", "e", "E", "e", "G", "g", "G", "g",
    "G", "g", "G", "g", "H", "h", "H", "h", "I", "i", "I", "i", "I", "i", "I", "i",
    "I", "i", "IJ", "ij", "J", "j", "K", "k", "k", "L", "l", "L", "l", "L", "l", "L",
    "l", "L", "l", "N", "n", "N", "n", "N", "n", "n", "N", "n", "O", "o", "O", "o",
    "O", "o", "OE", "oe", "R", "r", "R", "r", "R", "r", "S", "s", "S", "s", "S", "s",
    "S", "s", "T", "t", "T", "t", "T", "t", "U", "u", "U", "u", "U", "u", "U", "u",
    "U", "u", "U", "u", "W", "w", "Y", "y", "Y", "Z", "z", "Z", "z", "Z", "z", "s",
};
// clang-format on
constexpr char32_t kFirst = 0xC0, kLast = 0x17F;
static_assert(std::size(kLatin) == kLast - kFirst + 1);

}  // namespace

std::string font_text(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const char32_t code = next_character(text, at).value_or(0);
    const bool accent = code >= 0x300 && code < 0x370, no_break_space = code == 0xA0;
    if (code >= kFirst && code <= kLast)
      out += kLatin[code - kFirst];
    else if (code >= ' ' && code < 127)
      out += static_cast<char>(code);
    else if (!accent)
      out += no_break_space ? ' ' : '?';
  }
  return out;
}

}  // namespace espalier
