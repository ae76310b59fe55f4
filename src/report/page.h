#pragma once
// One HTML file that shows what came of a run. The files of src/report/page are its parts; they are compiled
// into the program (embed.cmake).

#include <map>
#include <string>

#include "base/json.h"

namespace espalier {

/// Name to text of every file of src/report/page.
const std::map<std::string, std::string>& page_files();

/// The page for `data` (recipe/report.h says what is in it): page.html with the other parts and the data in
/// their places. It needs no network, and forbids itself any.
std::string report_page(const Json& data);

}  // namespace espalier
