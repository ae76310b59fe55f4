#include "graph/trace.h"

#include <set>

#include "base/error.h"
#include "tensor/grad_state.h"

namespace espalier {

Tracing::Tracing() { outer_ = install_tracer(this); }
Tracing::~Tracing() { install_tracer(outer_); }

Tensor Tracing::input(const std::string& name, const Meta& meta) {
  Tensor shell = Tensor::without_data(meta);
  shell.grad_state()->tracer = this;
  shell.grad_state()->traced_value = static_cast<int>(graph_.values.size());
  graph_.inputs.push_back(static_cast<int>(graph_.values.size()));
  graph_.values.push_back({name, meta, {}, false});
  return shell;
}

Tensor Tracing::parameter(const std::string& name, const Tensor& contents, bool trainable) {
  ESPALIER_CHECK(graph_.find(name) < 0, "parameter '", name,
                 "' is made twice; give one of the layers another scope");
  Tensor shell = Tensor::without_data(contents.meta(), contents.device());
  shell.grad_state()->tracer = this;
  shell.grad_state()->traced_value = static_cast<int>(graph_.values.size());
  graph_.values.push_back({name, contents.meta(), contents, trainable});
  return shell;
}

void Tracing::record(const OpPtr& op, const Tensors& in, const Tensors& out) {
  Graph::Item item;
  // Named by place and op; a second op of the same kind at the same place gets a number.
  const std::string place = running_place(), base = place.empty() ? op->name() : place + "/" + op->name();
  item.name = base;
  for (int n = 2; graph_.find_item(item.name) >= 0; ++n) item.name = base + str("_", n);
  item.op = op;
  for (const Tensor& t : in) item.in.push_back(value_of(t));
  for (size_t i = 0; i < out.size(); ++i) {
    const auto& state = out[i].grad_state();
    state->tracer = this;
    state->traced_value = static_cast<int>(graph_.values.size());
    item.out.push_back(state->traced_value);
    graph_.values.push_back({out.size() == 1 ? item.name : str(item.name, ":", i), out[i].meta(), {}, false});
  }
  graph_.items.push_back(std::move(item));
}

Graph Tracing::finish(const Tensors& outputs) {
  for (const Tensor& t : outputs) graph_.outputs.push_back(value_of(t));
  graph_.compact();
  graph_.verify();
  return std::move(graph_);
}

int Tracing::value_of(const Tensor& tensor) const {
  const auto& state = tensor.grad_state();
  ESPALIER_CHECK(state->tracer == this, "tracing: a tensor ", tensor.meta(),
                 " comes from outside the model function; make it a parameter");
  return state->traced_value;
}

}  // namespace espalier
