#pragma once
// What a format's reader gives to open_dataset() and check_dataset(): everything that the files say, right or
// wrong.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "datasets/dataset.h"

namespace espalier {

struct Listing {
  std::vector<std::string> labels;
  std::vector<Sample> samples;
  std::vector<std::string> where;     ///< per sample, for messages: "train_list.txt:12", or the path
  std::vector<DataProblem> problems;  ///< lines that give no sample
  std::vector<std::string> ignored;
  std::string list;  ///< the list file or folder of this split, relative to the root
};

/// One on-disk format. Reading throws Error only for what leaves nothing to list (no root, no list, no
/// labels).
struct DataFormat {
  std::string name;
  Listing (*read)(const DataSpec&, Split);
  bool (*has_split)(const DataSpec&, Split);
};

/// Throws Error for an unknown format or a root that is no folder.
const DataFormat& find_format(const DataSpec& spec);

Listing read_image_list(const DataSpec& spec, Split split);
bool image_list_has(const DataSpec& spec, Split split);
Listing read_image_folder(const DataSpec& spec, Split split);
bool image_folder_has(const DataSpec& spec, Split split);

/// Duplicates and files that do not exist, as problems; true in `bad` for every sample concerned.
std::vector<DataProblem> find_bad_entries(const std::filesystem::path& root, const Listing& listing,
                                          std::vector<bool>& bad);
/// Decodes the samples not yet bad, on all cores; marks and lists those that fail, in their order.
std::vector<DataProblem> find_unreadable_entries(const std::filesystem::path& root, const Listing& listing,
                                                 std::vector<bool>& bad);
/// Classes that no sample, bad ones apart, has.
std::vector<DataProblem> find_empty_classes(const Listing& listing, Split split,
                                            const std::vector<bool>& bad);

}  // namespace espalier
