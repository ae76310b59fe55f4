#pragma once
// What a format's reader gives to open_dataset() and check_dataset(): everything that the files say, right or
// wrong.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "datasets/dataset.h"
#include "io/image.h"

namespace espalier {

struct Listing {
  std::string task;  ///< of the format; read_listing() sets it
  std::vector<std::string> labels;
  std::vector<Sample> samples;
  std::vector<std::string> where;  ///< per sample, for messages: "train_list.txt:12", or the path
  /// Detection, per sample: where its annotation stands, for messages, and each box's number in it.
  std::vector<std::string> annotation;
  std::vector<std::vector<int64_t>> objects;
  std::vector<DataProblem> problems;  ///< lines that give no sample
  std::vector<std::string> ignored;
  std::string list;  ///< the list file or folder of this split, relative to the root
  std::string leaves_out_a_class = "remove the class";  ///< what to do about one that nothing has
};

/// One on-disk format. Reading throws Error only for what leaves nothing to list (no root, no list, no
/// labels).
struct DataFormat {
  std::string name, task;
  Listing (*read)(const DataSpec&, Split);
  bool (*has_split)(const DataSpec&, Split);
};

/// Throws Error for an unknown format or a root that is no folder.
const DataFormat& find_format(const DataSpec& spec);

/// What the format's reader gives.
Listing read_listing(const DataSpec& spec, Split split);

Listing read_image_list(const DataSpec& spec, Split split);
Listing read_image_folder(const DataSpec& spec, Split split);
bool image_folder_has(const DataSpec& spec, Split split);
Listing read_voc(const DataSpec& spec, Split split);
Listing read_coco(const DataSpec& spec, Split split);
bool coco_has(const DataSpec& spec, Split split);
Listing read_segmentation_list(const DataSpec& spec, Split split);

/// What a look at a sample's files tells.
struct Look {
  ImageInfo info;               ///< of the picture; width 0 if nobody looked
  uint64_t content = 0;         ///< hash of the picture file's bytes
  std::vector<int64_t> pixels;  ///< segmentation: of each class
  int64_t ignored = 0;          ///< and those of none
  std::string error, kind;      ///< empty if the files are good
};
enum class LookAt { kSizes, kEverything };  ///< kSizes: only headers, and only where no annotation says them
/// Looks at the samples not yet bad, on all cores.
std::vector<Look> look_at_files(const std::filesystem::path& root, const Listing& listing,
                                const std::vector<bool>& bad, LookAt depth);

/// Sets Sample::contents of all samples, on all cores.
void read_contents(Dataset& data);

/// Duplicates and files that do not exist, as problems; true in `bad` for every sample concerned.
std::vector<DataProblem> find_bad_entries(const std::filesystem::path& root, const Listing& listing,
                                          std::vector<bool>& bad);
/// The samples whose look failed, in their order; marks them.
std::vector<DataProblem> find_unreadable_entries(const Listing& listing, const std::vector<Look>& looks,
                                                 std::vector<bool>& bad);
/// Takes boxes without area, outside of the picture or not finite out of the samples, as problems, and clips
/// the others; those go to `clipped`, unless it is null.
std::vector<DataProblem> take_bad_boxes(Listing& listing, const std::vector<Look>& looks,
                                        const std::vector<bool>& bad, std::vector<DataProblem>* clipped);
/// Pictures of each class, bad ones apart; detection: boxes; segmentation: pictures with a pixel of it, and
/// nothing when the masks were not looked at.
std::vector<int> count_classes(const Listing& listing, const std::vector<Look>& looks,
                               const std::vector<bool>& bad);
/// Classes with a count of 0.
std::vector<DataProblem> find_empty_classes(const Listing& listing, Split split,
                                            const std::vector<int>& counts);
/// Masks that hold the first class and 255 alone, as one problem that costs nothing: most often 255 was meant
/// as the second class.
std::vector<DataProblem> find_masks_of_0_and_255(const Listing& listing, const std::vector<Look>& looks,
                                                 const std::vector<bool>& bad);
/// Of val or test: what makes every metric impossible, as one problem; none where something can be measured
/// or the masks were not looked at.
std::vector<DataProblem> find_nothing_to_measure(const Listing& listing, Split split,
                                                 const std::vector<Look>& looks,
                                                 const std::vector<bool>& bad);
/// Rewrites labels to the numbers of `known`, those of the model. Names (of folders, in annotations) may be
/// fewer than the model's, and more where nothing has them; the numbers of a list or in masks mean something
/// only if labels.txt is the same. Throws Error for what does not fit.
void match_labels(Listing& listing, const DataSpec& spec, const std::vector<std::string>& known);

}  // namespace espalier
