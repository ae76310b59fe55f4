#include "runtime/plan.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "ops/prepared_block.h"
#include "runtime/arena.h"

namespace espalier {

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Metas metas(const Tensors& tensors) {
  Metas m;
  for (const Tensor& t : tensors) m.push_back(t.meta());
  return m;
}

/// The value whose memory each value uses: its own, or that of an input which dies in the item that makes it.
std::vector<int> storage_of(const Graph& graph, const Metas& metas) {
  std::vector<int> storage(graph.values.size()), uses(graph.values.size(), 0);
  for (size_t v = 0; v < storage.size(); ++v) storage[v] = static_cast<int>(v);
  for (const Graph::Item& item : graph.items)
    for (int v : item.in) ++uses[v];
  for (int v : graph.outputs) ++uses[v];
  for (const Graph::Item& item : graph.items) {
    const int i = item.op->overwrites();
    if (i < 0 || i >= static_cast<int>(item.in.size())) continue;
    const int x = item.in[i], y = item.out[0];
    if (!graph.is_parameter(x) && uses[x] == 1 && metas[x] == metas[y]) storage[y] = storage[x];
  }
  return storage;
}

}  // namespace

Plan::Plan(const Graph& graph, const Tensors& inputs, std::vector<std::shared_ptr<void>>& packed)
    : graph_(graph), device_(graph.device()), blocks_(blocks_of(graph)) {
  place_values(graph.infer(metas(inputs)));
  prepare_kernels(packed);
  join_blocks();
  divide_into_segments();
}

Plan::~Plan() = default;

void Plan::place_values(const Metas& metas) {
  const std::vector<int> storage = storage_of(graph_, metas);
  const int count = static_cast<int>(graph_.items.size());
  std::vector<Lifetime> lives(graph_.values.size());
  const auto used = [&](int v, int first, int last) {
    if (graph_.is_parameter(v)) return;
    Lifetime& life = lives[storage[v]];
    if (life.bytes == 0) life.first = first;  // items come in order, producers first
    life.bytes = std::max(life.bytes, metas[v].shape.elements() * bytes_of(metas[v].dtype));
    life.bytes = std::max<int64_t>(life.bytes, 1);
    life.last = std::max(life.last, last);
  };
  for (int v : graph_.inputs) used(v, 0, 0);
  for (int i = 0; i < count; ++i) {
    const Block& block = blocks_[i];
    for (int v : graph_.items[i].in) used(v, block.first + 1, block.last + 1);
    for (int v : graph_.items[i].out) used(v, block.first + 1, block.last + 1);
  }
  for (int v : graph_.outputs) used(v, count + 1, count + 1);

  std::vector<int> owners;  // values with memory of their own
  std::vector<Lifetime> own;
  for (size_t v = 0; v < lives.size(); ++v)
    if (lives[v].bytes > 0) {
      owners.push_back(static_cast<int>(v));
      own.push_back(lives[v]);
    }
  const ArenaLayout layout = plan_arena(own);
  arena_bytes_ = layout.bytes;
  // In units of an alignment, because extents are ints.
  constexpr int kUnit = static_cast<int>(ArenaLayout::kAlignment / sizeof(float));
  arena_ = Tensor({static_cast<int>(layout.bytes / ArenaLayout::kAlignment), kUnit}, device_);

  std::vector<int64_t> offset(graph_.values.size(), 0);
  for (size_t i = 0; i < owners.size(); ++i) offset[owners[i]] = layout.offsets[i];
  at_.resize(graph_.values.size());
  for (size_t v = 0; v < at_.size(); ++v)
    if (graph_.values[v].param.defined())
      at_[v] = graph_.values[v].param;
    else
      at_[v] = Tensor::over(static_cast<char*>(arena_.data()) + offset[storage[v]], metas[v], device_);
  for (int v : graph_.inputs) inputs_.push_back(at_[v]);
  for (int v : graph_.outputs) outputs_.push_back(at_[v]);
}

void Plan::prepare_kernels(std::vector<std::shared_ptr<void>>& packed) {
  packed.resize(graph_.items.size());
  for (size_t i = 0; i < graph_.items.size(); ++i) {
    const Graph::Item& item = graph_.items[i];
    const Running place(item.name);
    PrepareCtx ctx;
    for (int v : item.in) {
      ctx.in.push_back(at_[v]);
      ctx.is_parameter.push_back(graph_.is_parameter(v));
    }
    for (int v : item.out) ctx.out.push_back(at_[v]);
    ctx.packed = &packed[i];
    kernels_.push_back(item.op->prepare(ctx));
    cooperative_.push_back(dynamic_cast<CooperativePrepared*>(kernels_.back().get()));
  }
  // Kernels hold what they need; parameters that are packed need not stay.
  for (size_t v = 0; v < at_.size(); ++v)
    if (graph_.values[v].param.defined()) at_[v] = {};
}

void Plan::join_blocks() {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    if (block.first == block.last || block.first != static_cast<int>(i)) continue;
    auto joined = join_block(*kernels_[i], *kernels_[i + 1], *kernels_[i + 2]);
    if (!joined) continue;
    cooperative_[i] = cooperative_[i + 1] = nullptr;
    cooperative_[i + 2] = joined.get();
    joined_.push_back(std::move(joined));
  }
}

void Plan::divide_into_segments() {
  for (int i = 0; i < static_cast<int>(kernels_.size()); ++i) {
    // The first items of a joined block have nothing to do but belong to the segment of the last.
    const bool joins = cooperative_[blocks_[i].last] != nullptr;
    if (!joins || segments_.empty() || segments_.back().steps.empty()) segments_.push_back({i, i, {}});
    Segment& segment = segments_.back();
    segment.last = i + 1;
    if (joins && i == 0) segment.steps.push_back({nullptr, 0, -1});
    for (int step = 0; cooperative_[i] && step < cooperative_[i]->steps(); ++step)
      segment.steps.push_back({cooperative_[i], step, i});
  }
}

bool Plan::fits(const Tensors& inputs) const {
  return inputs.size() == inputs_.size() &&
         std::equal(inputs.begin(), inputs.end(), inputs_.begin(), [](const Tensor& a, const Tensor& b) {
           return a.has_data() && a.shape() == b.shape() && a.dtype() == b.dtype();
         });
}

int64_t Plan::packed_bytes() const {
  int64_t bytes = 0;
  for (const auto& kernel : kernels_) bytes += kernel->packed_bytes();
  return bytes;
}

void Plan::copy_inputs(const Tensors& inputs, const kernels::Team& share) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const int64_t bytes = inputs[i].bytes(), first = bytes * share.thread / share.threads,
                  last = bytes * (share.thread + 1) / share.threads;
    std::memcpy(static_cast<char*>(inputs_[i].data()) + first,
                static_cast<const char*>(inputs[i].data()) + first, static_cast<size_t>(last - first));
  }
}

bool Plan::copies_inside(const Tensors& inputs) const {
  return device_ == Device::kCpu && !segments_.empty() && !segments_[0].steps.empty() &&
         std::all_of(inputs.begin(), inputs.end(),
                     [](const Tensor& t) { return t.device() == Device::kCpu; });
}

void Plan::run_segment(const Segment& segment, const Tensors* inputs, double* stamps) {
  if (segment.steps.empty()) {
    const Running place(graph_.items[segment.first].name);
    kernels_[segment.first]->run();
    if (stamps) {
      kernels::synchronize(device_);
      stamps[segment.first + 1] = now();
    }
    return;
  }
  const int threads = omp_get_max_threads();  // shares; fewer threads may come
  relay_.reset(threads);
#pragma omp parallel num_threads(threads)
  {
    relay_.run(
        omp_get_thread_num(), static_cast<int>(segment.steps.size()),
        [&](int n, int share) {
          const Step& step = segment.steps[n];
          const kernels::Team team{share, threads, step.step};
          if (step.kernel)
            step.kernel->run(team);
          else if (inputs)
            copy_inputs(*inputs, team);
        },
        [&](int n) {
          if (stamps) stamps[segment.steps[n].item + 1] = now();
        });
  }
  // Items without steps of their own take no time.
  for (int i = segment.first; stamps && i < segment.last; ++i)
    if (!cooperative_[i]) stamps[i + 1] = stamps[i];
}

const Tensors& Plan::run(const Tensors& inputs, double* stamps) {
  const bool together = copies_inside(inputs);
  if (!together) {
    for (size_t i = 0; i < inputs.size(); ++i) inputs_[i].copy_from(inputs[i]);
    if (stamps) stamps[0] = now();
  }
  const auto segments = [&] {
    for (const Segment& segment : segments_)
      run_segment(segment, together && segment.first == 0 ? &inputs : nullptr, stamps);
  };
  if (device_ == Device::kCuda && !stamps)
    launches_.run(segments);
  else
    segments();
  kernels::synchronize(device_);
  return outputs_;
}

}  // namespace espalier
