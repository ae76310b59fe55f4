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

/// Whether pixels of class k of a mask are anything to see: class 0 is the background, ignored ones are of no
/// class.
constexpr bool is_marked(int k) { return k != 0 && k != Mask::kIgnored; }

/// Of the stripes over a mask's ignored pixels.
constexpr Color kIgnoredColor = {160, 160, 160};

/// Draws the boxes with names and scores, and the mask with the borders between its classes; class 0, the
/// background, leaves the picture as it is, and ignored pixels get stripes. Lines and letters grow with the
/// picture, which must be the one that was predicted on.
void draw(Image& image, const Prediction& prediction, const std::vector<std::string>& labels,
          const DrawOptions& options = {});

/// A bright colour of a class; neighbouring numbers differ much.
Color class_color(int label);

}  // namespace espalier
