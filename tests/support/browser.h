#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace espalier::test {

/// $ESPALIER_CHROMIUM, else chromium or Chrome on PATH; empty where there is none: tests skip.
std::string find_chromium();

/// What is wrong with an HTML file in headless Chromium at 375, 768 and 1280 pixels, light and dark, after
/// everything on it was used: console errors, elements that reach over the edge, empty charts, numbers that
/// are none. Empty: nothing.
std::vector<std::string> page_faults(const std::filesystem::path& page);

}  // namespace espalier::test
