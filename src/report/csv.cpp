#include "report/csv.h"

#include <cstdlib>

#include "base/error.h"
#include "io/file.h"

namespace espalier {

namespace {

std::string line_of(const std::vector<std::string>& cells) {
  std::string line;
  for (const std::string& cell : cells) line += (line.empty() ? "" : ",") + csv_cell(cell);
  return line + "\n";
}

}  // namespace

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) {
    quoted += c;
    if (c == '"') quoted += c;
  }
  return quoted + "\"";
}

CsvTable::CsvTable(std::filesystem::path path, std::vector<std::string> columns, int64_t keep_below)
    : path_(std::move(path)), columns_(std::move(columns)), text_(line_of(columns_)) {
  if (keep_below <= 0 || !std::filesystem::exists(path_)) return;
  const std::string before = read_file(path_);
  if (!before.starts_with(text_)) return;
  // Rows begin with a whole number, so they can be told apart without parsing the rest: a line that begins
  // otherwise continues a quoted cell.
  for (size_t at = text_.size(); at < before.size();) {
    const size_t end = before.find('\n', at);
    if (end == std::string::npos) break;
    if (std::strtoll(before.c_str() + at, nullptr, 10) >= keep_below) break;
    text_ += before.substr(at, end + 1 - at);
    at = end + 1;
  }
}

void CsvTable::add(const std::vector<std::string>& cells) {
  ESPALIER_CHECK(cells.size() == columns_.size(), path_.string(), ": a row of ", cells.size(), " cells for ",
                 columns_.size(), " columns");
  text_ += line_of(cells);
  write_atomically(path_, text_);
}

}  // namespace espalier
