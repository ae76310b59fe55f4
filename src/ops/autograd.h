#pragma once
// Reverse mode: a recorded call is a node, backward() walks nodes in reverse order of their making.

#include "ops/op.h"

namespace espalier {

/// One recorded call. Made by apply() when an input requires a gradient.
struct GradNode {
  OpPtr op;
  Ctx ctx;         ///< inputs and outputs that backward() does not need are without data
  Tensors leaves;  ///< per input: the tensor itself if it is a leaf that requires a gradient
  struct Edge {
    std::shared_ptr<GradNode> node;  ///< the call that made this input, if recorded
    int output = 0;
  };
  std::vector<Edge> edges;
  std::string place;   ///< Running place at the call, for messages
  uint64_t order = 0;  ///< calls are numbered; a node's inputs have smaller numbers

  ~GradNode();  ///< unlinks long chains with a loop instead of recursion
};

/// Fills grad() of every leaf that `loss` depends on; adds to a gradient that is already there. `loss` has
/// one element. Frees what each node kept as soon as it is done.
void backward(const Tensor& loss);

/// The same from several outputs with given gradients.
void backward(const Tensors& outputs, const Tensors& gradients);

}  // namespace espalier
