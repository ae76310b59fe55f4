#pragma once
// What the formats of lists share: list files with two words a line and labels.txt.

#include <string>
#include <vector>

#include "datasets/listing.h"

namespace espalier {

/// "train_list.txt" unless the spec names another.
std::string list_name(const DataSpec& spec, Split split);
/// "labels.txt" unless the spec names another.
std::string labels_name(const DataSpec& spec);
bool list_exists(const DataSpec& spec, Split split);

/// The class names of the labels file, one a line. Throws Error when it is missing, empty, or names a class
/// twice.
std::vector<std::string> read_labels(const DataSpec& spec);

/// One line of a list: what stands before and after its last space, so paths may contain spaces there.
struct ListLine {
  std::string where;  ///< "DIR/train_list.txt:12"
  std::string path, second;
};

/// The lines that hold two words. Others become problems of `listing`: `has` says what a line without a
/// second word lacks ("has no label"), `pattern` how lines look ("relative/path label"). Throws Error when
/// there is no such list.
std::vector<ListLine> read_list(const DataSpec& spec, Split split, const std::string& has,
                                const std::string& pattern, Listing& listing);

}  // namespace espalier
