#include "runtime/session.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/precision.h"
#include "passes/fold_batch_norm.h"
#include "passes/fuse.h"
#include "passes/pad_channels.h"
#include "passes/split_concat.h"
#include "passes/store_bf16.h"
#include "runtime/plan.h"
#include "tensor/allocator.h"

namespace espalier {

struct Session::Impl {
  Graph graph;
  size_t kept_plans;
  std::vector<std::shared_ptr<void>> packed;  ///< per item, shared by the plans
  std::vector<std::unique_ptr<Plan>> plans;   ///< the latest used first

  Plan& plan_for(const Tensors& inputs);

  /// What lies packed would otherwise take its memory twice.
  void forget_packed_weights() {
    for (size_t i = 0; i < packed.size(); ++i) {
      const int w = packed[i] ? graph.items[i].in[1] : -1;
      if (w >= 0 && graph.uses(w) == 1)
        graph.values[w].param = Tensor::without_data(graph.values[w].meta, graph.values[w].param.device());
    }
    allocator::release_cached(Device::kCpu);
  }
};

namespace {

/// False for INT8 graphs, which have few floats.
bool of_floats(const Graph& graph) {
  return std::all_of(graph.values.begin(), graph.values.end(),
                     [](const Graph::Value& v) { return v.meta.dtype == DType::kF32; });
}

/// What a session of this graph keeps most of its activations as.
DType stored_type(const Graph& graph) {
  if (!of_floats(graph)) return DType::kS8;
  const bool bf16 = graph.device() != Device::kCpu && kernels::precision() == kernels::Precision::kBf16;
  return bf16 ? DType::kBF16 : DType::kF32;
}

/// What a GPU's kernels load at once. On a CPU wider layers cost more than narrow ends of rows do.
constexpr int kLoadBytes = 16;

}  // namespace

Session::Session(const Graph& graph, const SessionOptions& options) : impl_(std::make_unique<Impl>()) {
  ESPALIER_CHECK(options.kept_plans >= 1, "session: kept_plans is ", options.kept_plans,
                 "; it must be at least 1");
  for (const Graph::Value& v : graph.values)
    ESPALIER_CHECK(!v.param.defined() || v.param.has_data(), "session: parameter '", v.name,
                   "' has no values; load the weights first");
  Graph& own = impl_->graph;
  own = graph;
  impl_->kept_plans = static_cast<size_t>(options.kept_plans);
  if (options.optimise) {
    fold_batch_norm(own);
    fuse(own);
    split_concat(own);
    const DType stored = stored_type(own);
    if (options.pad && own.device() != Device::kCpu) pad_channels(own, kLoadBytes / bytes_of(stored));
    if (stored == DType::kBF16) store_bf16(own);
  }
  // The passes put new tensors where they change parameters; only the others are still the caller's.
  for (Graph::Value& v : own.values)
    if (v.param.defined() && std::any_of(graph.values.begin(), graph.values.end(),
                                         [&](const Graph::Value& g) { return g.param.same(v.param); }))
      v.param = v.param.clone();
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

Plan& Session::Impl::plan_for(const Tensors& inputs) {
  const auto found =
      std::find_if(plans.begin(), plans.end(), [&](const auto& plan) { return plan->fits(inputs); });
  if (found != plans.end()) {
    std::rotate(plans.begin(), found, found + 1);
    return *plans.front();
  }
  ESPALIER_CHECK(inputs.size() == graph.inputs.size(), "session: ", inputs.size(), " inputs were given, ",
                 graph.inputs.size(), " are needed");
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Graph::Value& expected = graph.values[graph.inputs[i]];
    ESPALIER_CHECK(inputs[i].defined() && inputs[i].has_data(), "session: input ", i, " (", expected.name,
                   ") has no values");
    ESPALIER_CHECK(inputs[i].dtype() == expected.meta.dtype, "session: input ", i, " (", expected.name,
                   ") is ", inputs[i].meta(), "; the graph takes ", expected.meta.dtype);
  }
  auto plan = std::make_unique<Plan>(graph, inputs, packed);
  forget_packed_weights();
  if (plans.size() >= kept_plans) plans.resize(kept_plans - 1);
  plans.insert(plans.begin(), std::move(plan));
  return *plans.front();
}

const Tensors& Session::run(const Tensors& inputs) { return impl_->plan_for(inputs).run(inputs); }

const Graph& Session::graph() const { return impl_->graph; }
int64_t Session::arena_bytes() const {
  return impl_->plans.empty() ? 0 : impl_->plans.front()->arena_bytes();
}
int64_t Session::packed_bytes() const {
  return impl_->plans.empty() ? 0 : impl_->plans.front()->packed_bytes();
}

std::vector<double> Session::profile(const Tensors& inputs) {
  Plan& plan = impl_->plan_for(inputs);
  std::vector<double> stamps(impl_->graph.items.size() + 1);
  plan.run(inputs, stamps.data());
  for (size_t i = 0; i + 1 < stamps.size(); ++i) stamps[i] = (stamps[i + 1] - stamps[i]) * 1e3;
  stamps.pop_back();
  return stamps;
}

}  // namespace espalier
