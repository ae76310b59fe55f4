#pragma once

#include <memory>

#include "tensor/tensor.h"

namespace espalier {

struct GradNode;  // ops/autograd.h

/// A leaf has requires_grad and no node; the output of a recorded op has the node that made it.
struct GradState {
  bool requires_grad = false;
  Tensor grad;
  std::shared_ptr<GradNode> node;
  int output = 0;         ///< which output of node this tensor is
  int traced_value = -1;  ///< the graph value that this tensor stands for while tracing
  const void* tracer = nullptr;
};

}  // namespace espalier
