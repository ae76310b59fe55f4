#pragma once
// What people say about a picture, beyond its class: boxes and masks, as the files give them and as metrics
// compare them; in the pixels of the picture in the file.

#include <vector>

#include "tasks/prediction.h"

namespace espalier {

/// Where transforms put a picture: a point x of the file lies at scale_x * x + offset_x of the network's
/// picture, y likewise. Flips have a negative scale.
struct PixelMap {
  double scale_x = 1, scale_y = 1, offset_x = 0, offset_y = 0;
};

/// One picture's annotation as its file has it, untouched by any transform, and where the transforms put it.
/// Metrics compare with it, and predictions are mapped back to it; for a picture without annotation boxes and
/// mask are empty.
struct Annotation {
  int width = 0, height = 0;  ///< of the picture in the file
  std::vector<ObjectBox> boxes;
  Mask mask;
  PixelMap to_network;
};

}  // namespace espalier
