#pragma once
// Which of many overlapping boxes stay.

#include <cstdint>
#include <vector>

#include "tasks/annotation.h"

namespace espalier {

/// Boxes that may be objects, with a score for every class.
struct Candidates {
  int classes = 0;
  std::vector<float> x0, y0, x1, y1;  ///< one a box
  std::vector<float> scores;          ///< [boxes, classes], none negative

  int64_t size() const { return static_cast<int64_t>(x0.size()); }
};

struct NmsOptions {
  float score_threshold = 0.01f;  ///< what does not exceed it is no object
  float overlap = 0.45f;          ///< a box with a larger IoU with a better one of its class goes
  int top_k = 1000;               ///< of a class enter, the best ones
  int keep = 100;                 ///< of a picture stay, the best ones of all classes
  bool inclusive = false;         ///< corners are pixels: a box from 3 to 4 is two wide
};

/// Greedy non-maximum suppression within each class; best first, equal scores in the order of class and
/// candidate.
std::vector<ObjectBox> suppress(const Candidates& candidates, const NmsOptions& options);

/// Best first, equal scores as they come; the first `most` of them.
void keep_best(std::vector<ObjectBox>& boxes, int most);

/// Intersection over union, or over `a` alone where `b` is a crowd. `inclusive` as in NmsOptions.
double overlap_of(const ObjectBox& a, const ObjectBox& b, bool inclusive = false);

}  // namespace espalier
