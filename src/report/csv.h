#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace espalier {

/// A table in a CSV file (RFC 4180), complete on disk after every row. The first column is a whole number
/// that grows: a resumed run takes back the rows that it will make again.
class CsvTable {
 public:
  /// Takes over the rows with a first column below `keep_below` of a file that is there with the same
  /// columns; any other is replaced.
  CsvTable(std::filesystem::path path, std::vector<std::string> columns, int64_t keep_below = 0);
  /// Writes atomically. As many cells as columns.
  void add(const std::vector<std::string>& cells);

 private:
  std::filesystem::path path_;
  std::vector<std::string> columns_;
  std::string text_;
};

/// Quoted where it must be.
std::string csv_cell(const std::string& text);

}  // namespace espalier
