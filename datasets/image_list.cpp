// Format "image_list": list files with lines "relative/path label" and labels.txt with one class name a line.
// The label is what follows the last space, so paths may contain spaces.

#include <charconv>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "datasets/listing.h"
#include "io/file.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

std::string list_name(const DataSpec& spec, Split split) {
  const std::string& given = split == Split::kTrain ? spec.train
                             : split == Split::kVal ? spec.val
                                                    : spec.test;
  return given.empty() ? str(name(split), "_list.txt") : given;
}

std::string labels_name(const DataSpec& spec) { return spec.labels.empty() ? "labels.txt" : spec.labels; }

constexpr const char* kBlank = " \t\r\n\v\f";

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(kBlank);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

/// Lines without blanks at their ends and without the byte order mark that some editors put in front.
std::vector<std::string> read_lines(const fs::path& path) {
  std::string text = read_file(path);
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(trimmed(line));
  return lines;
}

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

}  // namespace

bool image_list_has(const DataSpec& spec, Split split) {
  return fs::exists(spec.root / list_name(spec, split));
}

Listing read_image_list(const DataSpec& spec, Split split) {
  Listing listing;
  listing.labels = read_labels(spec);
  listing.list = list_name(spec, split);
  const fs::path path = spec.root / listing.list;
  ESPALIER_CHECK(fs::exists(path), path.string(), ": there is no such list of ", name(split),
                 " pictures; write one with lines 'relative/path label', or name another with data.",
                 name(split));
  const int classes = static_cast<int>(listing.labels.size());
  int number = 0;
  for (const std::string& line : read_lines(path)) {
    const std::string where = str(path.string(), ":", ++number);
    if (line.empty()) continue;
    const auto problem = [&](const char* kind, const std::string& what) {
      listing.problems.push_back({where, str(where, ": ", what), kind, ""});
    };
    const size_t blank = line.find_last_of(" \t");
    if (blank == std::string::npos) {
      problem("no_label", str("'", line, "' has no label; write 'relative/path label'"));
      continue;
    }
    const std::string word = line.substr(blank + 1);
    int label = 0;
    const auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), label);
    if (code == std::errc::invalid_argument || end != word.data() + word.size()) {
      const auto named = std::find(listing.labels.begin(), listing.labels.end(), word);
      problem("no_label",
              named != listing.labels.end()
                  ? str("label '", word, "' is a name; write its number, ", named - listing.labels.begin())
                  : str("'", word, "' is no label; a whole number in 0 .. ", classes - 1,
                        " is expected after the last space"));
    } else if (code != std::errc() || label < 0 || label >= classes) {
      problem("label_range", str("label ", word, " is out of range: ", labels_name(spec), " names ", classes,
                                 " classes, so 0 .. ", classes - 1, "; correct the label or add its class"));
    } else {
      listing.samples.push_back({trimmed(line.substr(0, blank)), label});
      listing.where.push_back(where);
    }
  }
  return listing;
}

}  // namespace espalier
