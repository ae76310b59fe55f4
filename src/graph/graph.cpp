#include "graph/graph.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>

#include "base/error.h"
#include "base/random.h"

namespace espalier {

int Graph::producer(int value) const {
  for (size_t i = 0; i < items.size(); ++i)
    if (std::find(items[i].out.begin(), items[i].out.end(), value) != items[i].out.end())
      return static_cast<int>(i);
  return -1;
}

std::vector<int> Graph::consumers(int value) const {
  std::vector<int> found;
  for (size_t i = 0; i < items.size(); ++i)
    if (std::find(items[i].in.begin(), items[i].in.end(), value) != items[i].in.end())
      found.push_back(static_cast<int>(i));
  return found;
}

int Graph::uses(int value) const {
  const auto count = [value](const std::vector<int>& v) {
    return static_cast<int>(std::count(v.begin(), v.end(), value));
  };
  int n = count(outputs);
  for (const Item& item : items) n += count(item.in);
  return n;
}

int Graph::find(const std::string& name) const {
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i].name == name) return static_cast<int>(i);
  return -1;
}

int Graph::find_item(const std::string& name) const {
  for (size_t i = 0; i < items.size(); ++i)
    if (items[i].name == name) return static_cast<int>(i);
  return -1;
}

Tensors Graph::run(const Tensors& in) const {
  ESPALIER_CHECK(in.size() == inputs.size(), "graph: ", in.size(), " inputs were given, ", inputs.size(),
                 " are needed");
  Tensors at(values.size());
  std::vector<int> left(values.size(), 0);  // an activation is let go after its last reader
  for (const Item& item : items)
    for (int v : item.in) ++left[v];
  for (int v : outputs) ++left[v];
  for (size_t i = 0; i < in.size(); ++i) at[inputs[i]] = in[i];
  for (size_t v = 0; v < values.size(); ++v)
    if (values[v].param.defined()) at[v] = values[v].param;
  for (const Item& item : items) {
    const Running place(item.name);
    Tensors arguments;
    arguments.reserve(item.in.size());
    for (int v : item.in) arguments.push_back(at[v]);
    for (int v : item.in)
      if (--left[v] == 0) at[v] = Tensor();
    Tensors results = espalier::apply(item.op, arguments);  // qualified: std::apply is found too
    for (size_t i = 0; i < item.out.size(); ++i)
      if (left[item.out[i]] > 0) at[item.out[i]] = std::move(results[i]);
  }
  Tensors out;
  for (int v : outputs) out.push_back(at[v]);
  return out;
}

std::vector<Tensor> Graph::trainable() const {
  std::vector<Tensor> found;
  for (const Value& v : values)
    if (v.trainable) found.push_back(v.param);
  return found;
}

Graph Graph::clone() const {
  Graph g = *this;
  for (Value& v : g.values)
    if (v.param.defined())
      v.param = v.param.has_data() ? v.param.clone() : Tensor::without_data(v.param.meta(), v.param.device());
  return g;
}

Device Graph::device() const {
  for (const Value& v : values)
    if (v.param.defined()) return v.param.device();
  return Device::kCpu;
}

Graph Graph::to(Device device) const {
  Graph g = *this;
  for (Value& v : g.values)
    if (v.param.defined()) v.param = v.param.to(device).detached();
  return g;
}

void Graph::require_gradients(bool on) const {
  for (const Value& v : values)
    if (v.trainable) v.param.set_requires_grad(on);
}

void Graph::compact() {
  std::vector<bool> needed(values.size(), false);
  for (int v : inputs) needed[v] = true;
  for (int v : outputs) needed[v] = true;
  std::vector<Item> kept;
  for (auto item = items.rbegin(); item != items.rend(); ++item) {
    if (std::none_of(item->out.begin(), item->out.end(), [&](int v) { return needed[v]; })) continue;
    for (int v : item->in) needed[v] = true;
    for (int v : item->out) needed[v] = true;
    kept.push_back(std::move(*item));
  }
  std::reverse(kept.begin(), kept.end());
  items = std::move(kept);
  std::vector<int> renumbered(values.size(), -1);
  std::vector<Value> left;
  for (size_t v = 0; v < values.size(); ++v)
    if (needed[v]) {
      renumbered[v] = static_cast<int>(left.size());
      left.push_back(std::move(values[v]));
    }
  values = std::move(left);
  const auto renumber = [&](std::vector<int>& indices) {
    for (int& v : indices) v = renumbered[v];
  };
  renumber(inputs);
  renumber(outputs);
  for (Item& item : items) {
    renumber(item.in);
    renumber(item.out);
  }
}

Metas Graph::infer(const Metas& in) const {
  ESPALIER_CHECK(in.size() == inputs.size(), "graph: ", in.size(), " inputs were given, ", inputs.size(),
                 " are needed");
  Metas at(values.size());
  for (size_t v = 0; v < values.size(); ++v)
    if (values[v].param.defined()) at[v] = values[v].param.meta();
  for (size_t i = 0; i < in.size(); ++i) at[inputs[i]] = in[i];
  for (const Item& item : items) {
    const Running place(item.name);
    Metas arguments;
    for (int v : item.in) arguments.push_back(at[v]);
    const Metas results = item.op->infer(arguments);
    for (size_t i = 0; i < item.out.size(); ++i) at[item.out[i]] = results[i];
  }
  return at;
}

void Graph::verify() const {
  const int count = static_cast<int>(values.size());
  const auto in_range = [count](int v) { return v >= 0 && v < count; };
  std::vector<bool> made(values.size(), false);
  std::set<std::string> names;
  for (int v = 0; v < count; ++v) {
    ESPALIER_CHECK(names.insert(values[v].name).second, "graph: two values are named '", values[v].name, "'");
    made[v] = is_parameter(v);
    ESPALIER_CHECK(!values[v].trainable || made[v], "graph: value '", values[v].name,
                   "' is trainable but no parameter");
  }
  for (int v : inputs) {
    ESPALIER_CHECK(in_range(v) && !made[v], "graph: input ", v,
                   " is out of range, a parameter, or listed twice");
    made[v] = true;
  }
  names.clear();
  Metas input_metas;
  for (int v : inputs) input_metas.push_back(values[v].meta);
  for (const Item& item : items) {
    ESPALIER_CHECK(names.insert(item.name).second, "graph: two items are named '", item.name, "'");
    for (int v : item.in)
      ESPALIER_CHECK(in_range(v) && made[v], "graph: item '", item.name, "' reads value ", v,
                     ", which is not made before it");
    for (int v : item.out) {
      ESPALIER_CHECK(in_range(v) && !made[v], "graph: item '", item.name, "' makes value ", v,
                     ", which exists already");
      made[v] = true;
    }
  }
  for (int v : outputs) ESPALIER_CHECK(in_range(v) && made[v], "graph: output ", v, " is made by nothing");
  const Metas metas = infer(input_metas);
  for (int v = 0; v < count; ++v)
    ESPALIER_CHECK(metas[v] == values[v].meta, "graph: value '", values[v].name, "' is recorded as ",
                   values[v].meta, " but is ", metas[v]);
}

Graph Graph::slice(int first, int last) const {
  Graph part;
  part.values = values;
  part.items.assign(items.begin() + first, items.begin() + last);
  std::vector<bool> made(values.size(), false), entered(values.size(), false), left(values.size(), false);
  for (const Item& item : part.items) {
    for (int v : item.in)
      if (!made[v] && !is_parameter(v) && !entered[v]) {
        entered[v] = true;
        part.inputs.push_back(v);
      }
    for (int v : item.out) made[v] = true;
  }
  const auto leaves = [&](int v) {
    if (made[v] && !left[v]) {
      left[v] = true;
      part.outputs.push_back(v);
    }
  };
  for (size_t i = last; i < items.size(); ++i)
    for (int v : items[i].in) leaves(v);
  for (int v : outputs) leaves(v);
  part.compact();
  return part;
}

uint64_t Graph::hash() const {
  const std::string structure = graph_to_json(*this).dump();
  uint64_t h = fnv1a(structure.data(), structure.size());
  for (const Value& v : values)
    if (v.param.has_data()) {
      const Tensor host = v.param.to(Device::kCpu);
      h = fnv1a(host.data(), static_cast<size_t>(host.bytes()), h);
    }
  return h;
}

}  // namespace espalier
