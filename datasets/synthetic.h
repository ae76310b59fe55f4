#pragma once
// Pictures drawn by the program, for trying the whole flow of every task without a download: vegetables of up
// to 15 kinds to classify, insects of up to 6 kinds to find, fundus pictures with an optic disc to outline.
// They vary in shape, texture, colour, pose, light, background and occlusion. They are written in the
// ordinary layouts, and the ordinary reader reads them.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "datasets/labelled_image.h"

namespace espalier {

struct SyntheticOptions {
  /// Kinds: 2 .. 15 vegetables or 2 .. 6 insects; the fundus has 2. 0: 6, or 2 for the fundus.
  int classes = 0;
  int train = 60, val = 20, test = 20;  ///< pictures; of vegetables: of each class
  int size = 96;                        ///< pixels of the longer side, 16 .. 4096
  uint64_t seed = 1;
  /// What is drawn: "image_list" or "image_folder", vegetables; "voc", insects with boxes;
  /// "segmentation_list", fundus pictures with masks.
  std::string layout = "image_list";
  int quality = 90;  ///< of the JPEG files
};

/// Draws the data set into `folder`, which must not exist or be empty. One that is complete with the same
/// options is left as it is, one that was broken off is finished. The same options give the same bytes, on
/// any number of threads. Throws Error for options out of range, a folder with other things in it, or one
/// that cannot be written.
void make_pictures(const std::filesystem::path& folder, const SyntheticOptions& options);

/// True when there is nothing in the folder yet, or a drawing that was broken off: make_pictures() has work
/// to do.
bool must_draw(const std::filesystem::path& folder);

/// How many pictures that makes, in all splits together.
int64_t picture_count(const SyntheticOptions& options);
/// How many of them are for training.
int64_t training_picture_count(const SyntheticOptions& options);

/// The classes of a data set that these options make, in the order in which its reader numbers them.
std::vector<std::string> labels_of(const SyntheticOptions& options);

/// The names of what is drawn, for a layout; as many as `classes` can be.
const std::vector<std::string>& drawn_labels(const std::string& layout);

/// One picture of size x size, as make_pictures() draws it.
Image draw_vegetable(int kind, int size, uint64_t seed, uint64_t index);

/// One to six insects of the first `classes` kinds, on leaves and among things that are none; size x size * 3
/// / 4. The boxes hold what is visible within the frame.
LabelledImage draw_insects(int classes, int size, uint64_t seed, uint64_t index);

/// The back of an eye: a bright disc of 1.5 to 5 % of the picture (class 1), vessels, bright spots that are
/// no disc; size x size * 2 / 3.
LabelledImage draw_fundus(int size, uint64_t seed, uint64_t index);

/// "carrot", ...; "beetle", ...: the names of the kinds, 15 and 6 of them.
const std::vector<std::string>& vegetable_names();
const std::vector<std::string>& insect_names();

}  // namespace espalier
