#pragma once
// What a model says about a picture, in the picture's own pixels, whatever size the network works at. Edges
// lie between pixels, so a box over the whole picture is 0, 0, width, height. Installed: standard headers
// only.

#include <cstdint>
#include <vector>

namespace espalier {

/// A class and how sure the network is of it, 0 .. 1.
struct ClassScore {
  int label = 0;
  double score = 0;
};

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

/// Each task fills its own part.
struct Prediction {
  std::vector<ClassScore> classes;  ///< classification: the five likeliest, best first
  std::vector<ObjectBox> boxes;     ///< detection: best first
  Mask mask;                        ///< segmentation: as large as the picture
};

}  // namespace espalier
