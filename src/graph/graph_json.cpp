#include <limits>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/error.h"
#include "graph/graph.h"

// The description is compact because an INT8 model's whole metadata must stay within a hundredth of its
// weights: values are numbered inputs first, then parameters, then the outputs of items in order; shapes of
// activations are inferred, and attributes at their defaults are left out.

namespace espalier {

namespace {

/// Attributes that differ from those of a fresh op of the same name.
Json changed_attributes(const Op& op) {
  const Json all = attributes_to_json(op), defaults = attributes_to_json(*make_op(op.name()));
  Json changed = Json::object();
  for (const auto& [key, value] : all.items())
    if (defaults.at(key) != value) changed[key] = value;
  return changed;
}

/// Number of every value in the file.
std::vector<int> numbering(const Graph& g) {
  std::vector<int> number(g.values.size(), -1);
  int next = 0;
  for (int v : g.inputs) number[v] = next++;
  for (size_t v = 0; v < g.values.size(); ++v)
    if (g.values[v].param.defined()) number[v] = next++;
  for (const Graph::Item& item : g.items)
    for (int v : item.out) number[v] = next++;
  return number;
}

int integer(const Json& json) {
  const std::optional<int> number = json_integer(json);
  ESPALIER_CHECK(number, "graph: ", json.dump(), " stands where a whole number of 32 bits is expected");
  return *number;
}

std::vector<int> integers(const Json& json) {
  std::vector<int> list;
  for (const Json& entry : json) list.push_back(integer(entry));
  return list;
}

/// Kernels count rows and values of one picture in 32 bits, and products of extents are not watched there.
const Meta& checked(const std::string& name, const Meta& meta) {
  constexpr int kMost = std::numeric_limits<int>::max();
  int64_t elements = 1;
  for (int axis = 0; axis < meta.shape.axes(); ++axis) {
    elements *= meta.shape[axis];
    ESPALIER_CHECK(meta.shape[axis] >= 0 && elements <= kMost, "graph: '", name, "' is ", meta,
                   "; extents are at least 0 and values at most ", kMost);
  }
  return meta;
}

}  // namespace

Json graph_to_json(const Graph& g) {
  const std::vector<int> number = numbering(g);
  const auto numbers = [&](const std::vector<int>& values) {
    Json list = Json::array();
    for (int v : values) list.push_back(number[v]);
    return list;
  };
  Json inputs = Json::array(), trainable = Json::array(), items = Json::array();
  for (int v : g.inputs)
    inputs.push_back({g.values[v].name, name(g.values[v].meta.dtype), g.values[v].meta.shape.vector()});
  for (size_t v = 0; v < g.values.size(); ++v)
    if (g.values[v].trainable) trainable.push_back(number[v]);
  for (const Graph::Item& item : g.items) {
    Json entry = {item.name, item.op->name(), numbers(item.in), changed_attributes(*item.op)};
    if (item.out.size() > 1) entry.push_back(item.out.size());
    items.push_back(std::move(entry));
  }
  return {{"inputs", inputs}, {"trainable", trainable}, {"items", items}, {"outputs", numbers(g.outputs)}};
}

Graph graph_from_json(const Json& json, const std::vector<std::pair<std::string, Meta>>& parameters) {
  Graph g;
  try {
    for (const Json& j : json.at("inputs")) {
      g.inputs.push_back(static_cast<int>(g.values.size()));
      const auto name = j.at(0).get<std::string>();
      const Meta meta = {Shape(integers(j.at(2))), dtype_from_name(j.at(1).get<std::string>())};
      g.values.push_back({name, checked(name, meta), {}, false});
    }
    for (const auto& [name, meta] : parameters)
      g.values.push_back({name, checked(name, meta), Tensor::without_data(meta), false});
    for (const int v : integers(json.at("trainable"))) {
      ESPALIER_CHECK(v >= 0 && v < static_cast<int>(g.values.size()), "graph: trainable value ", v,
                     " does not exist");
      ESPALIER_CHECK(g.values[v].meta.dtype == DType::kF32, "graph: '", g.values[v].name, "' is ",
                     g.values[v].meta, "; f32 alone is trainable");
      g.values[v].trainable = true;
    }
    for (const Json& j : json.at("items")) {
      Graph::Item item;
      item.name = j.at(0).get<std::string>();
      const Running place(item.name);
      const auto op_name = j.at(1).get<std::string>();
      const std::shared_ptr<Op> op = make_op(op_name);
      item.in = integers(j.at(2));
      Json attributes = attributes_to_json(*op);
      for (const auto& [key, value] : j.at(3).items()) attributes[key] = value;
      attributes_from_json(*op, attributes);
      item.op = op;
      Metas metas;
      for (int v : item.in) {
        ESPALIER_CHECK(v >= 0 && v < static_cast<int>(g.values.size()), "graph: reads value ", v,
                       ", which is not made before it");
        metas.push_back(g.values[v].meta);
      }
      const Metas outs = op->infer(metas);
      for (size_t i = 0; i < outs.size(); ++i) {
        item.out.push_back(static_cast<int>(g.values.size()));
        g.values.push_back(
            {outs.size() == 1 ? item.name : str(item.name, ":", i), checked(item.name, outs[i]), {}, false});
      }
      g.items.push_back(std::move(item));
    }
    g.outputs = integers(json.at("outputs"));
  } catch (const nlohmann::json::exception& e) {
    fail(str("graph: its description is damaged: ", e.what()));
  }
  g.verify();
  return g;
}

std::ostream& operator<<(std::ostream& out, const Graph& g) {
  const auto list = [&](const std::vector<int>& indices) {
    for (size_t i = 0; i < indices.size(); ++i) {
      const Graph::Value& v = g.values[indices[i]];
      out << (i ? ", " : "") << v.name << ' ' << v.meta;
    }
  };
  for (const Graph::Item& item : g.items) {
    out << item.name << ": " << item.op->name() << attributes_to_json(*item.op).dump() << " (";
    list(item.in);
    out << ") -> ";
    list(item.out);
    out << '\n';
  }
  return out;
}

}  // namespace espalier
