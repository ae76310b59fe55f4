#include "report/page.h"

#include <cassert>
#include <nlohmann/json.hpp>

namespace espalier {

namespace {

/// JSON that can stand inside <script>: no "</script>" and no "<!--" can begin in it.
std::string inside_script(const Json& data) {
  std::string text;
  for (const char c : data.dump(-1, ' ', true, Json::error_handler_t::replace))
    text += c == '<' ? "\\u003c" : std::string(1, c);
  return text;
}

}  // namespace

std::string report_page(const Json& data) {
  const std::string& frame = page_files().at("page.html");
  std::string page;
  size_t at = 0;
  for (size_t open; (open = frame.find("{{", at)) != std::string::npos;) {
    const size_t close = frame.find("}}", open);
    assert(close != std::string::npos);
    const std::string name = frame.substr(open + 2, close - open - 2);
    page += frame.substr(at, open - at);
    page += name == "data" ? inside_script(data) : page_files().at(name);
    at = close + 2;
  }
  return page + frame.substr(at);
}

}  // namespace espalier
