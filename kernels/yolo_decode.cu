#include "kernels/yolo_decode.h"

#include <cmath>

#include "kernels/launch.h"

namespace espalier::kernels {

namespace {

ESPALIER_HD float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

/// A side of the box, from the network's picture to the file's, within 0 .. end.
ESPALIER_HD float side(float at, double scale, double offset, float end) {
  const float there = static_cast<float>((at - offset) / scale);
  return there < 0 ? 0.0f : there < end ? there : end;
}

/// One item is one predictor.
struct Decode {
  YoloDecodeProblem p;
  float *corners, *scores;
  ESPALIER_HD void operator()(int64_t i) const {
    const int anchor = static_cast<int>(i % p.A);
    const int64_t cell = i / p.A;
    const float* t = p.head + i * (5 + p.classes);
    const float cx = (static_cast<float>(cell % p.W) + sigmoid(t[0])) * p.stride,
                cy = (static_cast<float>(cell / p.W) + sigmoid(t[1])) * p.stride,
                half_w = std::exp(t[2]) * p.anchors[2 * anchor] / 2,
                half_h = std::exp(t[3]) * p.anchors[2 * anchor + 1] / 2;
    const float x0 = side(cx - half_w, p.scale_x, p.offset_x, p.right),
                x1 = side(cx + half_w, p.scale_x, p.offset_x, p.right),
                y0 = side(cy - half_h, p.scale_y, p.offset_y, p.bottom),
                y1 = side(cy + half_h, p.scale_y, p.offset_y, p.bottom);
    const int64_t at = p.first + i;
    corners[at] = x0 < x1 ? x0 : x1;
    corners[p.boxes + at] = y0 < y1 ? y0 : y1;
    corners[2 * p.boxes + at] = x0 < x1 ? x1 : x0;
    corners[3 * p.boxes + at] = y0 < y1 ? y1 : y0;
    const bool is_box = t[4] > p.least && x0 != x1 && y0 != y1;
    const float objectness = sigmoid(t[4]);
    for (int k = 0; k < p.classes; ++k)
      scores[k * p.boxes + at] = is_box ? objectness * sigmoid(t[5 + k]) : 0.0f;
  }
};

}  // namespace

void yolo_decode(Device device, const YoloDecodeProblem& p, float* corners, float* scores) {
  for_each(device, int64_t{p.H} * p.W * p.A, Decode{p, corners, scores}, 64);
}

}  // namespace espalier::kernels
