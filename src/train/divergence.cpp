#include "train/divergence.h"

#include <cmath>
#include <optional>

#include "base/error.h"

namespace espalier {

namespace {

/// The first value that is not finite.
std::optional<float> bad_value(const Tensor& tensor) {
  if (!tensor.defined() || tensor.dtype() != DType::kF32) return {};
  const Tensor host = tensor.to(Device::kCpu);
  for (int64_t i = 0; i < host.elements(); ++i)
    if (!std::isfinite(host.f32()[i])) return host.f32()[i];
  return {};
}

}  // namespace

std::string first_bad_activation(const Graph& graph, const Tensors& inputs) {
  for (const Tensor& input : inputs)
    if (const auto bad = bad_value(input)) return str("the input itself (it holds ", *bad, ")");
  const NoGrad no_grad;
  const TrainingMode training;
  Tensors at(graph.values.size());
  for (size_t i = 0; i < inputs.size(); ++i) at[graph.inputs[i]] = inputs[i];
  std::vector<int> last(graph.values.size(), -1);  // an activation is let go after its last reader
  for (size_t i = 0; i < graph.items.size(); ++i)
    for (int v : graph.items[i].in) last[v] = static_cast<int>(i);
  for (size_t i = 0; i < graph.items.size(); ++i) {
    const Graph::Item& item = graph.items[i];
    Tensors arguments;
    for (int v : item.in) arguments.push_back(graph.is_parameter(v) ? graph.values[v].param : at[v]);
    const Tensors results = espalier::apply(item.op, arguments);
    for (size_t k = 0; k < results.size(); ++k) {
      if (const auto bad = bad_value(results[k])) return str(item.name, " (its output holds ", *bad, ")");
      at[item.out[k]] = results[k];
    }
    for (int v : item.in)
      if (last[v] == static_cast<int>(i)) at[v] = Tensor();
  }
  return "";
}

std::string first_bad_gradient(const Graph& graph) {
  for (auto item = graph.items.rbegin(); item != graph.items.rend(); ++item)
    for (int v : item->in) {
      if (!graph.values[v].trainable) continue;
      if (const auto bad = bad_value(graph.values[v].param.grad()))
        return str(item->name, " (the gradient of ", graph.values[v].name, " holds ", *bad, ")");
    }
  return "";
}

std::string first_bad_statistic(const Graph& graph) {
  for (const Graph::Item& item : graph.items)
    for (int v : item.in) {
      if (!graph.is_parameter(v) || graph.values[v].trainable) continue;
      if (const auto bad = bad_value(graph.values[v].param))
        return str(item.name, " (", graph.values[v].name, " holds ", *bad, ")");
    }
  return "";
}

StatisticsWatch::StatisticsWatch(const Graph& graph)
    : table_([&] {
        for (const Graph::Value& value : graph.values)
          if (value.param.defined() && !value.trainable && value.param.dtype() == DType::kF32)
            statistics_.push_back(value.param);
        return statistics_.empty() ? Device::kCpu : statistics_[0].device();
      }()) {
  std::vector<kernels::ParameterSlice> slices;
  for (const Tensor& t : statistics_) slices.push_back({.g = t.f32(), .elements = t.elements()});
  table_.set(slices);
}

void check_finite_parameters(const Graph& graph) {
  for (const Graph::Value& value : graph.values)
    if (value.param.defined())
      if (const auto bad = bad_value(value.param))
        fail(str(
            "parameter ", value.name, " holds ", *bad,
            " before training; the weights are damaged or came from a training that diverged, take others"));
}

}  // namespace espalier
