#include "optim/optimizer.h"

#include <cassert>
#include <cmath>
#include <set>

#include "base/error.h"
#include "kernels/optimizer.h"
#include "ops/batch_norm.h"
#include "optim/adamw.h"
#include "optim/sgd.h"

namespace espalier {

std::vector<OptimizedParameter> parameters_of(const Graph& graph, const DecayScope& decay) {
  std::set<int> norms;
  for (const Graph::Item& item : graph.items)
    if (item.as<BatchNorm>()) norms.insert({item.in[1], item.in[2]});
  std::vector<OptimizedParameter> parameters;
  for (int v = 0; v < static_cast<int>(graph.values.size()); ++v) {
    const Graph::Value& value = graph.values[v];
    if (!value.trainable) continue;
    // What has one axis and belongs to no norm is added to channels: a bias.
    const bool norm = norms.contains(v), bias = !norm && value.meta.shape.axes() == 1;
    const bool exempt = (norm && !decay.norms) || (bias && !decay.biases);
    parameters.push_back({value.name, value.param, 1, exempt ? 0.0f : 1.0f});
  }
  return parameters;
}

Optimizer::Optimizer(std::vector<OptimizedParameter> parameters, double weight_decay)
    : parameters_(std::move(parameters)), weight_decay_(weight_decay) {
  ESPALIER_CHECK(weight_decay >= 0 && weight_decay <= 1, "optimizer: weight decay is ", weight_decay,
                 "; it must lie in [0, 1]");
  ESPALIER_CHECK(!parameters_.empty(),
                 "optimizer: there is nothing to train; the model has no trainable "
                 "parameters (an INT8 or folded model cannot be trained)");
  std::set<std::string> names;
  for (const OptimizedParameter& p : parameters_) {
    ESPALIER_CHECK(names.insert(p.name).second, "optimizer: two parameters are named '", p.name, "'");
    ESPALIER_CHECK(p.tensor.dtype() == DType::kF32 && p.tensor.device() == parameters_[0].tensor.device(),
                   "optimizer: parameter '", p.name, "' is ", p.tensor.dtype(), " on ",
                   espalier::name(p.tensor.device()), "; all must be f32 on ",
                   espalier::name(parameters_[0].tensor.device()));
  }
  table_ = std::make_unique<kernels::SliceTable>(device());
  control_ = std::make_unique<kernels::SharedControl>(device());
}

Optimizer::~Optimizer() = default;

void Optimizer::add_state(const std::string& kind) {
  assert(state_.size() < 2 && "a ParameterSlice has room for two");
  Tensors tensors;
  for (const OptimizedParameter& p : parameters_)
    tensors.push_back(Tensor::zeros(p.tensor.shape(), p.tensor.device()));
  state_.emplace_back(kind, std::move(tensors));
}

void Optimizer::gather(kernels::SliceTable& table) const {
  std::vector<kernels::ParameterSlice> slices;
  slices.reserve(parameters_.size());
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const OptimizedParameter& p = parameters_[i];
    const Tensor gradient = p.tensor.grad();
    if (!gradient.defined()) continue;
    kernels::ParameterSlice slice{.w = p.tensor.f32(), .g = gradient.f32(), .elements = p.tensor.elements()};
    if (!state_.empty()) slice.m = state_[0].second[i].f32();
    if (state_.size() > 1) slice.v = state_[1].second[i].f32();
    slice.rate_factor = p.rate_factor;
    slice.decay = static_cast<float>(weight_decay_ * p.decay_factor);
    slices.push_back(slice);
  }
  table.set(slices);
}

double Optimizer::gradient_norm() {
  gather(*table_);
  judge_step(device(), {.gradient_squares = square_sum(*table_)}, control_->on_device());
  control_->fetch();
  return control_->host().gradient_norm;
}

void Optimizer::announce(double rate, kernels::StepControl& control) {
  ++steps_;
  control.rate = static_cast<float>(rate);
  correct(control);
}

void Optimizer::step(double rate, double gradient_scale) {
  gather(*table_);
  kernels::StepControl& control = control_->host();
  announce(rate, control);
  control.finite = 1;
  control.gradient_scale = static_cast<float>(gradient_scale);
  control_->send();
  move(*table_, control_->on_device());
  clear_gradients();
}

void Optimizer::clear_gradients() {
  for (const OptimizedParameter& p : parameters_) p.tensor.clear_grad();
}

std::vector<std::pair<std::string, Tensor>> Optimizer::state() const {
  std::vector<std::pair<std::string, Tensor>> state;
  for (const auto& [kind, tensors] : state_)
    for (size_t i = 0; i < tensors.size(); ++i)
      state.emplace_back(kind + "/" + parameters_[i].name, tensors[i]);
  return state;
}

void Optimizer::load_state(const std::map<std::string, Tensor>& saved, int64_t steps) {
  const auto own = state();
  ESPALIER_CHECK(saved.size() == own.size(), "optimizer ", name(), ": the saved state has ", saved.size(),
                 " tensors, ", own.size(), " are needed; it belongs to another optimizer or model");
  for (const auto& [key, tensor] : own) {
    const auto found = saved.find(key);
    ESPALIER_CHECK(found != saved.end(), "optimizer ", name(), ": the saved state has no '", key,
                   "'; it belongs to another optimizer or model");
    ESPALIER_CHECK(found->second.meta() == tensor.meta(), "optimizer ", name(), ": the saved '", key, "' is ",
                   found->second.meta(), ", expected ", tensor.meta());
    tensor.copy_from(found->second.to(tensor.device()));
  }
  steps_ = steps;
}

namespace {

using Parameters = std::vector<OptimizedParameter>;

std::unique_ptr<Optimizer> make_sgd(Parameters parameters, const OptimizerOptions& o) {
  return std::make_unique<Sgd>(
      std::move(parameters),
      SgdOptions{.momentum = o.momentum, .weight_decay = o.weight_decay, .decoupled = o.decoupled});
}

std::unique_ptr<Optimizer> make_adamw(Parameters parameters, const OptimizerOptions& o) {
  return std::make_unique<AdamW>(
      std::move(parameters),
      AdamWOptions{.beta1 = o.beta1, .beta2 = o.beta2, .eps = o.eps, .weight_decay = o.weight_decay});
}

/// Every optimizer there is.
struct OptimizerEntry {
  const char* name;
  std::unique_ptr<Optimizer> (*make)(Parameters parameters, const OptimizerOptions& options);
};
constexpr OptimizerEntry kOptimizers[] = {{"sgd", make_sgd}, {"adamw", make_adamw}};

}  // namespace

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for (const OptimizerEntry& entry : kOptimizers) names.emplace_back(entry.name);
  return names;
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& o, const Graph& graph) {
  std::string known;
  for (const OptimizerEntry& entry : kOptimizers) {
    if (entry.name == o.name) return entry.make(parameters_of(graph, o.decay), o);
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  fail("optimizer '" + o.name + "' is unknown; known are " + known);
}

}  // namespace espalier
