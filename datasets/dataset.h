#pragma once
// Which pictures there are and what is on them. Formats, each in the file of its name, all giving the same
// Dataset: "image_list" and "image_folder" for classification, "voc" and "coco" for detection,
// "segmentation_list" for segmentation.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tasks/annotation.h"

namespace espalier {

enum class Split { kTrain, kVal, kTest };
const char* name(Split split);  ///< "train", "val", "test"

/// What an unreadable picture, a bad line or a bad box does: stop lists them all in one Error; skip goes
/// without them and names them in Dataset::skipped.
enum class OnError { kStop, kSkip };
OnError on_error_from_name(const std::string& name);

/// Where a data set lies. Empty names are the format's defaults.
struct DataSpec {
  std::string format = "image_list";  ///< a name of the table in dataset.cpp
  std::filesystem::path root;
  /// image_list, voc, segmentation_list: files with lines "path label", "image annotation.xml", "image
  /// mask.png" (train_list.txt, val_list.txt, test_list.txt); a tab parts paths with blanks. coco: JSON files
  /// (train.json, ...). image_folder: folders of class folders (train, val, test). Without a folder `train`
  /// in it, root itself holds the class folders, and each class is split by the hash of its file names: see
  /// val_share.
  std::string train, val, test;
  std::string labels;  ///< lists: class names, one a line (labels.txt); coco: by default its categories
  /// coco: the folder of the pictures; "{split}" in it is train, val or test. By default images, and the JSON
  /// file's own.
  std::string images;
  double val_share = 0.2;   ///< image_folder without a split: this share of every class is for evaluation
  double test_share = 0.0;  ///< and this one for the test
  OnError on_error = OnError::kStop;
  /// Decode every picture once when opening, so that a bad one stops (or is skipped) before training and not
  /// in its middle. Without it a bad picture is an Error when its turn comes, in either mode.
  bool check_images = true;
  /// The labels that the model knows, in its order; empty: those of the data set. Others are an Error.
  std::vector<std::string> expected_labels;

  const std::string& list_of(Split split) const {
    return split == Split::kTrain ? train : split == Split::kVal ? val : test;
  }
};

struct Sample {
  std::string path;              ///< relative to the root, as listed
  int label = 0;                 ///< classification
  std::vector<ObjectBox> boxes;  ///< detection: as the file has them, clipped to the picture; may be empty
  std::string mask;              ///< segmentation: the PNG's path, relative to the root
  int width = 0, height = 0;     ///< of the picture as its annotation says; 0 when it says nothing
  uint64_t contents = 0;         ///< hash of size and ends of the picture's and the mask's file
};

/// Something wrong with one line or file, as it appears in messages: "train_list.txt:12: ...; what to do".
struct DataProblem {
  std::string where;    ///< "train_list.txt:12" or a picture's path
  std::string message;  ///< the whole line
  std::string kind;  ///< "no_label", "label_range", "missing", "unreadable", "duplicate", "empty_class", ...
  std::string path;  ///< of the picture, if there is one
  enum class Lost { kPicture, kBox, kNothing };
  Lost lost = Lost::kPicture;  ///< what OnError::kSkip goes without
};

struct Dataset {
  std::string name;                     ///< the root's last component and the split: "vegetables/train"
  std::string task = "classification";  ///< or "detection", "segmentation": from the format
  std::filesystem::path root;
  std::vector<std::string> labels;
  std::vector<Sample> samples;
  std::vector<DataProblem> skipped;  ///< what OnError::kSkip went without
  std::vector<std::string> ignored;  ///< image_folder: files that are no pictures by their extension
  uint64_t hash = 0;  ///< of labels, paths, classes, boxes and Sample::contents, in order; not of the root

  std::filesystem::path path(const Sample& sample) const { return root / sample.path; }
  /// Pictures of each class; detection: its boxes; segmentation: zeros, since only the masks know.
  std::vector<int> class_counts() const;
  int64_t skipped_pictures() const;  ///< how many of `skipped` are about a whole picture
  int64_t size() const { return static_cast<int64_t>(samples.size()); }
};

/// The names of all formats.
std::vector<std::string> dataset_formats();
/// "classification", "detection" or "segmentation". Throws Error for an unknown format.
const std::string& task_of_format(const std::string& format);

/// The format for `task` whose lists or folders are in `root`; the task's usual one when none is. A guess for
/// who names a folder only: it does not open the files.
std::string likely_format(const std::string& task, const std::filesystem::path& root);
/// The same for whatever task: of lists the first line says which.
std::string likely_format(const std::filesystem::path& root);

/// Opens one split. Throws Error "FILE:LINE: what is; what to do" for a missing root, list or labels file, a
/// line without label, a label out of range, a missing or unreadable picture, a duplicate, a class without
/// pictures (boxes) in training, an empty list, an annotation or mask that is not of its picture, a box of no
/// area, outside of the picture or without four finite numbers; when there are several, all of them. Boxes
/// that reach over the edge are clipped. Pictures without boxes are allowed, but not a val or test list in
/// which nothing can be measured.
Dataset open_dataset(const DataSpec& spec, Split split);

/// True when the spec has such a split on disk (tests are optional).
bool has_split(const DataSpec& spec, Split split);

/// Decodes every picture, on all cores; returns those that cannot be read, in the order of the data set.
std::vector<DataProblem> find_unreadable(const Dataset& data);

/// The pictures of `data` whose files (masks included) are as those of one in `other`, in their order.
std::vector<std::string> shared_pictures(const Dataset& data, const Dataset& other);

/// The first `count` samples of a reproducible random order, classes in their true proportions as far as that
/// goes; all of them when there are not more. For calibration and quick sweeps.
Dataset subset(const Dataset& data, int64_t count, uint64_t seed);

}  // namespace espalier
