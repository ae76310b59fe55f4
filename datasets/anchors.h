#pragma once
// Anchors of a detector that fit a data set: cluster centres of the widths and heights of its boxes, with 1 -
// IoU as distance (Redmon and Farhadi, "YOLO9000: better, faster, stronger", 2017, section 2).

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "datasets/dataset.h"
#include "datasets/transforms.h"

namespace espalier {

using BoxSize = std::pair<float, float>;  ///< width, height in pixels

/// The sizes of all boxes of the data set, crowds apart, in the pixels of the network's picture as
/// `evaluation` makes it. Throws Error when the data set has no boxes to give or a picture cannot be read.
std::vector<BoxSize> box_sizes(const Dataset& data, const Pipeline& evaluation);

struct AnchorSet {
  std::vector<BoxSize> anchors;  ///< by rising area
  double mean_iou = 0;           ///< of every box with its best anchor, both at the same place
  int64_t boxes = 0;
};

/// k-means with ten random beginnings, of which the best stays: a function of sizes, count and seed alone.
/// Throws Error when there are fewer different sizes than anchors wanted.
AnchorSet fit_anchors(const std::vector<BoxSize>& sizes, int count, uint64_t seed);

/// Intersection over union of two boxes at the same place.
double size_overlap(const BoxSize& a, const BoxSize& b);

/// Lines to paste into a recipe.
std::string anchors_yaml(const AnchorSet& set, const Size& network);
Json to_json(const AnchorSet& set);

}  // namespace espalier
