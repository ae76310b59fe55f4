#pragma once
// From the heads of a YOLOv3 to boxes.

#include <string>
#include <utility>
#include <vector>

#include "tasks/nms.h"
#include "tensor/tensor.h"

namespace espalier {

/// What the heads of a network mean. Head i is [N,h,w,A*(5+classes)], channel anchor*(5+classes) +
/// {tx,ty,tw,th,objectness,classes}, one cell every strides[i] pixels.
struct YoloLayout {
  int classes = 1;
  std::vector<std::pair<float, float>> anchors;  ///< width and height in pixels of the network's picture
  std::vector<std::vector<int>> masks;           ///< a head's anchors
  std::vector<int> strides;

  static YoloLayout of(int classes);  ///< the nine of Redmon and Farhadi (2018), strides 32, 16, 8
  /// Throws Error unless there is a head for every mask, of its channels, for one and the same picture.
  void check(const Tensors& heads) const;
};

/// The boxes of one image in the pixels of its file, clipped to the picture: centre (sigmoid(t) + cell) *
/// stride, size anchor * exp(t), score sigmoid(objectness) * sigmoid(class). Those whose objectness does not
/// exceed `threshold` are left out. Heads on the CPU. Throws Error, beginning with `name`, for an output that
/// is not finite. `inclusive`: the last pixel, not the picture's edge, is where clipping ends.
Candidates decode_yolo(const YoloLayout& layout, const Tensors& heads, int image, const Annotation& picture,
                       float threshold, bool inclusive, const std::string& name);

/// The same where the heads lie, for every predictor in turn.
struct DecodedYolo {
  Tensor corners;  ///< [4, predictors]: x0, y0, x1, y1
  Tensor scores;   ///< [classes, predictors]; 0 for those that are left out
};
DecodedYolo decode_yolo_there(const YoloLayout& layout, const Tensors& heads, int image,
                              const Annotation& picture, float threshold, bool inclusive,
                              const std::string& name);

/// What suppress() leaves of decode_yolo() with the same arguments. On a GPU, where the heads may lie, both
/// run there, and only what is left comes back.
std::vector<ObjectBox> detect_yolo(const YoloLayout& layout, const Tensors& heads, int image,
                                   const Annotation& picture, const NmsOptions& options,
                                   const std::string& name);

}  // namespace espalier
