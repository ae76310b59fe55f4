#pragma once
// The one Graph. Traced from a model function once, it is the model from then on: training, sensitivity,
// pruning, folding, INT8, saving and export all take a Graph and leave a Graph.

#include <functional>
#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

#include "ops/op.h"

namespace espalier {

class Graph {
 public:
  /// A tensor of the graph. Exactly one of: a graph input, a parameter (param is defined), or the output of
  /// one item.
  struct Value {
    std::string name;  ///< parameters by place, "block3/expand/w"; activations by the item that makes them
    Meta meta;         ///< shape at the traced input size; N is 1
    Tensor param;      ///< undefined for activations
    bool trainable =
        false;  ///< parameters that the optimizer moves; running statistics and INT8 codes are not
  };
  /// One op of the graph.
  struct Item {
    std::string name;  ///< the place, "block3/expand/conv"; unique
    OpPtr op;
    std::vector<int> in, out;  ///< indices into values

    template <class T>
    const T* as() const {
      return dynamic_cast<const T*>(op.get());
    }
  };

  std::vector<Value> values;
  std::vector<Item> items;           ///< in an order in which every producer precedes its consumers
  std::vector<int> inputs, outputs;  ///< indices into values

  bool is_parameter(int value) const { return values[value].param.defined(); }
  int producer(int value) const;  ///< index of the item that makes it, -1 for inputs and parameters
  std::vector<int> consumers(int value) const;    ///< indices of the items that read it; outputs do not count
  int uses(int value) const;                      ///< consumers plus its places among the outputs
  int find(const std::string& value_name) const;  ///< -1 if there is none
  int find_item(const std::string& item_name) const;  ///< -1 if there is none

  /// apply() in a loop: eager, differentiable, what training and tests use. Inputs may have another N, H, W
  /// than traced.
  Tensors run(const Tensors& inputs) const;

  std::vector<Tensor> trainable() const;  ///< handles of the trainable parameters, in order of values
  /// Own copies of all parameters, so that the two graphs can be changed apart. Without it copies share
  /// parameters.
  Graph clone() const;
  Graph to(Device device) const;
  /// Where its parameters lie; the CPU if it has none.
  Device device() const;
  /// Turns requires_grad of the trainable parameters on or off.
  void require_gradients(bool on = true) const;

  /// Removes items whose outputs nobody uses and values that nobody names; renumbers. Passes end with it and
  /// verify().
  void compact();
  /// Throws Error at the first inconsistency: order, indices, names, shapes against infer().
  void verify() const;
  /// Shapes of all values at another input shape, by infer() alone.
  Metas infer(const Metas& inputs) const;

  /// The sub-graph of items [first, last); values that cross its ends become its inputs and outputs.
  /// Parameters are shared.
  Graph slice(int first, int last) const;

  /// A fingerprint of structure, attributes and all parameter bytes.
  uint64_t hash() const;
};

/// One line an item: name, op, attributes, shapes.
std::ostream& operator<<(std::ostream& out, const Graph& graph);

/// {"inputs", "trainable", "items", "outputs"}; parameters travel separately, in order of values
/// (io/model_file.h).
Json graph_to_json(const Graph& graph);
/// Strict. `parameters` are name and meta in the order in which they were saved; they get tensors without
/// data, to be filled by the reader.
Graph graph_from_json(const Json& json, const std::vector<std::pair<std::string, Meta>>& parameters);

}  // namespace espalier
