#pragma once

namespace espalier {

/// The letters on drawn pictures: ASCII in dots, seven rows above the line and two below.
constexpr int kFontWidth = 5, kFontHeight = 9;

/// Whether a character has a dot at (x, y), from its upper left; false outside. What is no printable ASCII
/// looks like '?'.
bool font_dot(char character, int x, int y);

}  // namespace espalier
