#pragma once
// What a prediction looks like on its picture.

#include <array>
#include <string>
#include <vector>

#include "io/image.h"
#include "tasks/task.h"

namespace espalier {

using Color = std::array<uint8_t, 3>;  ///< red, green, blue

struct DrawOptions {
  double threshold = 0.5;  ///< boxes with a lower score are left out
  double opacity = 0.6;    ///< of a mask
  bool tags = true;        ///< names and scores beside the boxes
  int line = 0;            ///< pixels of a box's line; 0: grows with the picture
};

/// Draws the boxes with names and scores, and the mask with the borders between its classes; a class called
/// background, and the first of two, leaves the picture as it is. Lines and letters grow with the picture,
/// which must be the one that was predicted on.
void draw(Image& image, const Prediction& prediction, const std::vector<std::string>& labels,
          const DrawOptions& options = {});

/// A bright colour of a class; neighbouring numbers differ much.
Color class_color(int label);

}  // namespace espalier
