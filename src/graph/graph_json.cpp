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
      g.values.push_back(
          {j.at(0).get<std::string>(),
           {Shape(j.at(2).get<std::vector<int>>()), dtype_from_name(j.at(1).get<std::string>())},
           {},
           false});
    }
    for (const auto& [name, meta] : parameters)
      g.values.push_back({name, meta, Tensor::without_data(meta), false});
    for (const Json& j : json.at("trainable")) {
      const size_t v = j.get<size_t>();
      ESPALIER_CHECK(v < g.values.size(), "graph: trainable value ", v, " does not exist");
      g.values[v].trainable = true;
    }
    for (const Json& j : json.at("items")) {
      Graph::Item item;
      item.name = j.at(0).get<std::string>();
      const Running place(item.name);
      const auto op_name = j.at(1).get<std::string>();
      const std::shared_ptr<Op> op = make_op(op_name);
      item.in = j.at(2).get<std::vector<int>>();
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
        g.values.push_back({outs.size() == 1 ? item.name : str(item.name, ":", i), outs[i], {}, false});
      }
      g.items.push_back(std::move(item));
    }
    g.outputs = json.at("outputs").get<std::vector<int>>();
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
