#pragma once
// What people say about a picture, beyond its class: boxes and masks, as the files give them and as metrics
// compare them. Pixels are those of the picture in the file; edges lie between pixels, so a box over the
// whole picture is 0, 0, width, height.

#include <cstdint>
#include <vector>

namespace espalier {

/// An object's rectangle, in pixels, and its class.
struct ObjectBox {
  float x0 = 0, y0 = 0, x1 = 0, y1 = 0;  ///< left, top, right, bottom; x0 < x1, y0 < y1
  int label = 0;
  float score = 1;         ///< ground truth: the share that mixup gave it; predictions: confidence
  bool difficult = false;  ///< VOC: neither a hit nor a miss
  bool crowd = false;      ///< COCO: a region of many; neither a hit nor a miss

  float width() const { return x1 - x0; }
  float height() const { return y1 - y0; }
};

/// A class per pixel, rows from the top; kIgnored pixels count for nothing.
struct Mask {
  static constexpr uint8_t kIgnored = 255;
  int width = 0, height = 0;
  std::vector<uint8_t> classes;  ///< width * height

  bool empty() const { return classes.empty(); }
};

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
