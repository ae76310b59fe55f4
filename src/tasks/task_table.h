#pragma once
// Every task's constructor; task.cpp is the table.

#include "tasks/task.h"

namespace espalier {

/// Softmax over one output [N,classes]; options label_smoothing and class_weights.
std::unique_ptr<Task> make_classification(int classes, const Json& options);

/// A YOLOv3: heads [N,h,w,A*(5+classes)]. Options: anchors, anchor_masks, strides, ignore_threshold and
/// label_smooth of the loss; score_threshold, nms_threshold, nms_top_k and keep_top_k of the decoding;
/// map_rule and paddlex_compat of the metric.
std::unique_ptr<Task> make_detection(int classes, const Json& options);

/// A class per pixel: logits [N,H,W,classes], or [N,H,W,1] for two classes with the losses dice and bce.
/// Options: losses, class_weights, label_smoothing, paddlex_compat.
std::unique_ptr<Task> make_segmentation(int classes, const Json& options);

}  // namespace espalier
