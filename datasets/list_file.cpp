#include "datasets/list_file.h"

#include <climits>
#include <sstream>

#include "base/error.h"
#include "base/utf8.h"
#include "io/file.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

/// Lines without blanks at their ends and without the byte order mark that some editors put in front. Others
/// than UTF-8 are an Error, since model files and results could not hold their words.
std::vector<std::string> read_lines(const fs::path& path) {
  std::string text = read_file(path);
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    lines.push_back(trimmed(line));
    ESPALIER_CHECK(is_utf8(line), path.string(), ":", lines.size(),
                   ": is no UTF-8 text; save the file as UTF-8, and name its pictures alike");
  }
  return lines;
}

/// Where the first of a line's two paths ends: at its tab, if it has one, else at the last blank with a file
/// on either side, since both may hold blanks, else at the last blank.
size_t end_of_path(const fs::path& root, const std::string& line) {
  if (const size_t tab = line.find('\t'); tab != std::string::npos) return tab;
  const auto blank_before = [&](size_t at) { return at == 0 ? std::string::npos : line.rfind(' ', at - 1); };
  const size_t last = blank_before(line.size());
  if (last == std::string::npos || blank_before(last) == std::string::npos) return last;
  if (line.size() > 2 * PATH_MAX) return last;  // no two files have such names, and there may be many blanks
  const auto is_file = [&](const std::string& path) {
    std::error_code code;
    return fs::is_regular_file(root / trimmed(path), code);
  };
  for (size_t at = last; at != std::string::npos; at = blank_before(at))
    if (is_file(line.substr(0, at)) && is_file(line.substr(at))) return at;
  return last;
}

}  // namespace

std::string trimmed(const std::string& text) {
  constexpr const char* kBlank = " \t\r\n\v\f";
  const size_t first = text.find_first_not_of(kBlank);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string missing_file(const fs::path& root, const std::string& path, const std::string& other) {
  const auto holds = [](const std::string& text, char c) { return text.find(c) != std::string::npos; };
  const bool split = !other.empty() && (holds(path, ' ') || holds(other, ' '));
  return str("there is no file '", path, "' in ", root.string(),
             holds(path, '\\') ? "; write the path with / instead of \\"
             : split           ? "; correct the path, part paths with blanks by a tab, or remove the line"
                               : "; correct the path or remove the line");
}

std::string list_name(const DataSpec& spec, Split split) {
  const std::string& given = spec.list_of(split);
  return given.empty() ? str(name(split), "_list.txt") : given;
}

std::string labels_name(const DataSpec& spec) { return spec.labels.empty() ? "labels.txt" : spec.labels; }

bool list_exists(const DataSpec& spec, Split split) { return fs::exists(spec.root / list_name(spec, split)); }

std::vector<std::string> read_labels(const DataSpec& spec) {
  const fs::path path = spec.root / labels_name(spec);
  ESPALIER_CHECK(
      fs::exists(path), path.string(),
      ": there is no labels file; write one with the name of a class on every line, in the order of "
      "the labels, or name another with data.labels");
  std::vector<std::string> labels = read_lines(path);
  while (!labels.empty() && labels.back().empty()) labels.pop_back();
  ESPALIER_CHECK(!labels.empty(), path.string(), ": is empty; the name of a class is expected on every line");
  // Two classes may share a name, as ImageNet's two cranes do: a class is its number.
  for (size_t i = 0; i < labels.size(); ++i)
    ESPALIER_CHECK(!labels[i].empty(), path.string(), ":", i + 1,
                   ": the line is empty, but lines follow; every line names the class of its number");
  return labels;
}

std::vector<ListLine> read_list(const DataSpec& spec, Split split, Second second, const std::string& has,
                                const std::string& pattern, Listing& listing) {
  listing.list = list_name(spec, split);
  const fs::path path = spec.root / listing.list;
  ESPALIER_CHECK(fs::exists(path), path.string(), ": there is no such list of ", name(split),
                 " pictures; write one with lines '", pattern, "', or name another with data.", name(split));
  std::vector<ListLine> lines;
  int number = 0;
  for (const std::string& line : read_lines(path)) {
    const std::string where = str(path.string(), ":", ++number);
    if (line.empty()) continue;
    const size_t blank = second == Second::kPath ? end_of_path(spec.root, line) : line.find_last_of(" \t");
    if (blank != std::string::npos)
      lines.push_back({where, trimmed(line.substr(0, blank)), trimmed(line.substr(blank + 1))});
    else
      listing.problems.push_back(
          {where, str(where, ": '", line, "' ", has, "; write '", pattern, "'"), "no_label", ""});
  }
  return lines;
}

}  // namespace espalier
