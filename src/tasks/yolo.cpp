#include "tasks/yolo.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "tasks/pixel_map.h"

namespace espalier {

namespace {

float sigmoid_of(float x) { return 1.0f / (1.0f + std::exp(-x)); }

}  // namespace

YoloLayout YoloLayout::of(int classes) {
  return {classes,
          {{10, 13}, {16, 30}, {33, 23}, {30, 61}, {62, 45}, {59, 119}, {116, 90}, {156, 198}, {373, 326}},
          {{6, 7, 8}, {3, 4, 5}, {0, 1, 2}},
          {32, 16, 8}};
}

void YoloLayout::check(const Tensors& heads) const {
  ESPALIER_CHECK(heads.size() == masks.size(), "detection: the network has ", heads.size(), " outputs, and ",
                 masks.size(), " anchor_masks are given; one a head is needed");
  for (size_t i = 0; i < heads.size(); ++i) {
    const Shape& s = heads[i].shape();
    const int channels = static_cast<int>(masks[i].size()) * (5 + classes);
    ESPALIER_CHECK(s.axes() == 4 && s[3] == channels, "detection: head ", i, " is ", s, "; with ",
                   masks[i].size(), " anchors and ", classes, " classes it needs ", channels, " channels");
    const Shape& first = heads[0].shape();
    ESPALIER_CHECK(s[0] == first[0] && s[1] * strides[i] == first[1] * strides[0] &&
                       s[2] * strides[i] == first[2] * strides[0],
                   "detection: head ", i, " is ", s, " at stride ", strides[i], ", head 0 ", first,
                   " at stride ", strides[0], "; they are for pictures of different sizes");
  }
}

Candidates decode_yolo(const YoloLayout& layout, const Tensors& heads, int image, const Annotation& picture,
                       float threshold, bool inclusive, const std::string& name) {
  ESPALIER_CHECK(picture.width > 0 && picture.height > 0, name, ": is ", picture.width, "x", picture.height,
                 " pixels; a picture has some");
  const float right = static_cast<float>(picture.width - inclusive),
              bottom = static_cast<float>(picture.height - inclusive);
  // sigmoid(x) > threshold without a sigmoid for each of the many that are not.
  const float least = threshold > 0 ? std::log(threshold / (1 - threshold)) : -INFINITY;
  Candidates found;
  found.classes = layout.classes;
  for (size_t head = 0; head < heads.size(); ++head) {
    const Shape& s = heads[head].shape();
    const int step = 5 + layout.classes, H = s[1], W = s[2];
    const int64_t values = int64_t{H} * W * s[3];
    const float* x = heads[head].f32() + image * values;
    float bad = 0;  // what is not finite gives NaN when multiplied by 0
    for (int64_t i = 0; i < values; ++i) bad += x[i] * 0.0f;
    ESPALIER_CHECK(bad == 0, name,
                   ": the network's output has a value that is not finite; its weights or running "
                   "statistics are damaged, or training diverged");
    const float stride = static_cast<float>(layout.strides[head]);
    for (int h = 0; h < H; ++h)
      for (int w = 0; w < W; ++w)
        for (const int anchor : layout.masks[head]) {
          const float* t = x;
          x += step;
          if (!(t[4] > least)) continue;
          const float cx = (static_cast<float>(w) + sigmoid_of(t[0])) * stride,
                      cy = (static_cast<float>(h) + sigmoid_of(t[1])) * stride,
                      half_w = std::exp(t[2]) * layout.anchors[anchor].first / 2,
                      half_h = std::exp(t[3]) * layout.anchors[anchor].second / 2;
          const ObjectBox box =
              box_in_file({cx - half_w, cy - half_h, cx + half_w, cy + half_h}, picture.to_network);
          const float x0 = std::clamp(box.x0, 0.0f, right), x1 = std::clamp(box.x1, 0.0f, right),
                      y0 = std::clamp(box.y0, 0.0f, bottom), y1 = std::clamp(box.y1, 0.0f, bottom);
          if (x1 <= x0 || y1 <= y0) continue;
          found.x0.push_back(x0);
          found.y0.push_back(y0);
          found.x1.push_back(x1);
          found.y1.push_back(y1);
          const float objectness = sigmoid_of(t[4]);
          for (int k = 0; k < layout.classes; ++k) found.scores.push_back(objectness * sigmoid_of(t[5 + k]));
        }
  }
  return found;
}

}  // namespace espalier
