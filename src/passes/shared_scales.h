#pragma once

#include <vector>

#include "graph/graph.h"

namespace espalier {

/// True for ops that only move and mix values (concat, pooling, resizing): their codes keep the scale of
/// their inputs.
bool moves_codes(const Graph::Item& item);

/// Which activations must have one scale: what moves_codes() joins.
class SharedScales {
 public:
  /// `quantized`: per item, whether it runs in INT8; the others join nothing.
  SharedScales(const Graph& graph, const std::vector<bool>& quantized);

  /// The values that share the scale of `value` and are made rather than moved: they decide about the codes.
  std::vector<int> made(int value) const;

 private:
  std::vector<int> set_;     ///< per value: a name of its set
  std::vector<bool> moved_;  ///< per value: a moving item makes it
};

}  // namespace espalier
