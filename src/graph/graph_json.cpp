#include <nlohmann/json.hpp>
#include <ostream>

#include "base/error.h"
#include "graph/graph.h"

namespace espalier {

Json graph_to_json(const Graph& g) {
  Json values = Json::array(), items = Json::array();
  for (size_t v = 0; v < g.values.size(); ++v) {
    const Graph::Value& value = g.values[v];
    Json j = {{"name", value.name}, {"dtype", name(value.meta.dtype)}, {"shape", value.meta.shape.vector()}};
    if (value.param.defined()) j["param"] = true;
    if (value.trainable) j["trainable"] = true;
    values.push_back(std::move(j));
  }
  for (const Graph::Item& item : g.items)
    items.push_back({{"name", item.name},
                     {"op", item.op->name()},
                     {"attributes", attributes_to_json(*item.op)},
                     {"in", item.in},
                     {"out", item.out}});
  return {{"inputs", g.inputs}, {"outputs", g.outputs}, {"values", values}, {"items", items}};
}

Graph graph_from_json(const Json& json) {
  Graph g;
  try {
    for (const Json& j : json.at("values")) {
      Graph::Value v;
      v.name = j.at("name").get<std::string>();
      v.meta = {Shape(j.at("shape").get<std::vector<int>>()),
                dtype_from_name(j.at("dtype").get<std::string>())};
      if (j.value("param", false)) v.param = Tensor::without_data(v.meta);
      v.trainable = j.value("trainable", false);
      g.values.push_back(std::move(v));
    }
    for (const Json& j : json.at("items")) {
      const auto name = j.at("name").get<std::string>();
      const Running place(name);
      const std::shared_ptr<Op> op = make_op(j.at("op").get<std::string>());
      attributes_from_json(*op, j.at("attributes"));
      g.items.push_back({name, op, j.at("in").get<std::vector<int>>(), j.at("out").get<std::vector<int>>()});
    }
    g.inputs = json.at("inputs").get<std::vector<int>>();
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
