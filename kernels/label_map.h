#pragma once
// From logits to a class for every pixel of the file, and from two such maps to a confusion matrix.

#include <cstdint>

#include "kernels/device.h"

namespace espalier::kernels {

/// A place between two pixels of the network's picture: (1 - share) of `low` and share of `high`.
struct BetweenPixels {
  int low = 0, high = 0;
  float share = 0;
};

/// All pointers on the device.
struct LabelMapProblem {
  const float* logits;  ///< [H,W,K] of one picture
  int W, K;
  int width, height;             ///< of the file
  const BetweenPixels* columns;  ///< [width], within 0 .. W - 1
  const BetweenPixels* rows;     ///< [height]
};

/// map[height,width]: the class with the largest logit, interpolated between rows and then columns, the first
/// of equal ones; of a single logit, 1 above 0.
void label_map(Device device, const LabelMapProblem& problem, uint8_t* map);

/// counts[p * 256 + l], on the host: how many of n pixels have label l and prediction p, which is below
/// `classes`. Waits for it.
void count_label_pairs(Device device, int64_t n, int classes, const uint8_t* labels,
                       const uint8_t* predictions, int64_t* counts);

}  // namespace espalier::kernels
