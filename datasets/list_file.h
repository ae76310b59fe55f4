#pragma once
// What the formats of lists share: list files with two words a line and labels.txt.

#include <string>
#include <vector>

#include "datasets/listing.h"

namespace espalier {

/// Without the blanks at its ends.
std::string trimmed(const std::string& text);

/// "train_list.txt" unless the spec names another.
std::string list_name(const DataSpec& spec, Split split);
/// "labels.txt" unless the spec names another.
std::string labels_name(const DataSpec& spec);
bool list_exists(const DataSpec& spec, Split split);

/// The class names of the labels file, one a line. Throws Error when it is missing, empty, or names a class
/// twice.
std::vector<std::string> read_labels(const DataSpec& spec);

/// One line of a list.
struct ListLine {
  std::string where;  ///< "DIR/train_list.txt:12"
  std::string path, second;
};

/// What stands behind the path: a label without blanks, or another path, which may hold blanks too (then a
/// tab parts the two, or that there are such files).
enum class Second { kLabel, kPath };

/// The lines that hold two things. Others become problems of `listing`: `has` says what a line without a
/// second lacks ("has no label"), `pattern` how lines look ("relative/path label"). Throws Error when there
/// is no such list.
std::vector<ListLine> read_list(const DataSpec& spec, Split split, Second second, const std::string& has,
                                const std::string& pattern, Listing& listing);

/// "there is no file 'a.jpg' in ROOT; ...": of the line's paths the one that is missing, and the other if it
/// has one.
std::string missing_file(const std::filesystem::path& root, const std::string& path,
                         const std::string& other = "");

}  // namespace espalier
