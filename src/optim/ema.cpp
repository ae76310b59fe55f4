#include "optim/ema.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/optimizer.h"

namespace espalier {

namespace {

bool is_averaged(const Graph::Value& value) {
  return value.param.defined() && value.param.dtype() == DType::kF32;
}

}  // namespace

Ema::Ema(const Graph& graph, double decay) : source_(graph), average_(graph), decay_(decay) {
  ESPALIER_CHECK(decay > 0 && decay < 1, "ema: the decay is ", decay, "; it must lie in (0, 1)");
  std::vector<kernels::ParameterSlice> slices;
  Device device = Device::kCpu;
  for (size_t v = 0; v < graph.values.size(); ++v) {
    if (!is_averaged(graph.values[v])) continue;
    const Tensor& from = source_.values[v].param;
    Tensor& average = average_.values[v].param;
    average = from.clone();
    device = from.device();
    slices.push_back({.w = from.f32(), .m = average.f32(), .elements = from.elements()});
  }
  table_ = std::make_unique<kernels::SliceTable>(device);
  table_->set(slices);
  control_ = std::make_unique<kernels::SharedControl>(device);
}

Ema::~Ema() = default;

void Ema::announce(kernels::StepControl& control) {
  const double t = static_cast<double>(updates_++);
  const double d = std::min(decay_, (1 + t) / (10 + t));
  control.average_share = static_cast<float>(1 - d);
}

void Ema::move(const kernels::StepControl* control) const { kernels::average_into(*table_, control); }

void Ema::update() {
  announce(control_->host());
  control_->host().finite = 1;
  control_->send();
  move(control_->on_device());
}

Graph Ema::averaged() const { return average_; }

std::vector<std::pair<std::string, Tensor>> Ema::state() const {
  std::vector<std::pair<std::string, Tensor>> state;
  for (const Graph::Value& value : average_.values)
    if (is_averaged(value)) state.emplace_back(value.name, value.param);
  return state;
}

void Ema::load_state(const std::map<std::string, Tensor>& saved, int64_t updates) {
  for (const auto& [name, tensor] : state()) {
    const auto found = saved.find(name);
    ESPALIER_CHECK(found != saved.end() && found->second.meta() == tensor.meta(),
                   "ema: the saved averages have no fitting '", name, "'");
    tensor.copy_from(found->second.to(tensor.device()));
  }
  updates_ = updates;
}

}  // namespace espalier
