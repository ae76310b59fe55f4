#pragma once
// What losses compare with: labels and boxes, looked at on the host before a kernel trusts them, and the
// small constants that lie beside them.

#include <span>

#include "tensor/tensor.h"

namespace espalier {

/// Throws Error, beginning with `who`, for a label outside 0 .. classes - 1 that is not `ignored`.
void check_labels(const char* who, const Tensor& labels, int classes, int ignored);
/// The same for boxes [N,M,6] as Batch::targets holds them: finite, the centre within the picture, a class
/// below `classes`, a score of at least 0. Padding (width or height below 1e-6) may hold anything finite.
void check_boxes(const char* who, const Tensor& boxes, int classes);

/// While one lives on this thread, both take targets that lie on a GPU to have been looked at before they
/// went there (Task::check()): fetching them back would wait for the GPU in every step.
class CheckedTargets {
 public:
  CheckedTargets();
  ~CheckedTargets();
  CheckedTargets(const CheckedTargets&) = delete;

 private:
  bool outer_;
};

/// The same few numbers again and again (anchors, weights of classes). On a GPU they are kept for the life of
/// the process, so that no step has to send them.
Tensor constant(std::span<const float> values, const Shape& shape, Device device);
Tensor constant(std::span<const int32_t> values, const Shape& shape, Device device);

}  // namespace espalier
