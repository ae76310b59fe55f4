#pragma once
// Every task's constructor; task.cpp is the table.

#include "tasks/task.h"

namespace espalier {

/// Softmax over one output [N,classes]; options label_smoothing and class_weights.
std::unique_ptr<Task> make_classification(int classes, const Json& options);

}  // namespace espalier
