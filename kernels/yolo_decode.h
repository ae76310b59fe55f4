#pragma once

#include <cstdint>

#include "kernels/device.h"

namespace espalier::kernels {

/// Most anchors of a head.
constexpr int kMostAnchors = 16;

/// One head's predictors of one picture, and where the picture's pixels are in the file.
struct YoloDecodeProblem {
  const float* head;  ///< [H,W,A,5+classes]: tx, ty, tw, th, objectness, classes
  int H, W, A, classes;
  float stride;                                 ///< pixels of the network's picture a cell
  float anchors[2 * kMostAnchors];              ///< width and height in those pixels
  double scale_x, scale_y, offset_x, offset_y;  ///< network = scale * file + offset
  float right, bottom;                          ///< where the picture in the file ends
  float least;           ///< objectness, before the sigmoid, that a predictor must exceed
  int64_t boxes, first;  ///< of all heads; this head's begin here
};

/// corners [4, boxes] in pixels of the file, clipped to the picture, and scores [classes, boxes] of the
/// predictors in the order of cell and anchor; scores 0 where there is no box. Formulas: tasks/yolo.h.
void yolo_decode(Device device, const YoloDecodeProblem& problem, float* corners, float* scores);

}  // namespace espalier::kernels
