#pragma once

#include <string>

namespace espalier {

/// The letters on drawn pictures: ASCII in dots, seven rows above the line and two below.
constexpr int kFontWidth = 5, kFontHeight = 9;

/// Whether a character has a dot at (x, y), from its upper left; false outside. What is no printable ASCII
/// looks like '?'.
bool font_dot(char character, int x, int y);

/// UTF-8 in characters that the font has: letters of Latin-1 and Latin Extended-A as their base letters (or
/// two, as in "ss"), accents by themselves as nothing, any other character as one '?'.
std::string font_text(const std::string& text);

}  // namespace espalier
