#include "compress/sweep.h"

#include <algorithm>
#include <cassert>
#include <set>
#include <span>

#include "base/error.h"
#include "base/interrupt.h"
#include "compress/crew.h"
#include "kernels/autotuner.h"
#include "kernels/device.h"
#include "kernels/gather_channels.h"
#include "ops/channel_ties.h"
#include "passes/remove_channels.h"

namespace espalier {

namespace {

void stop_if_interrupted() {
  if (interrupt_requested()) throw Interrupted("interrupted");
}

/// The given channels of the last axis.
Tensor gather(const Tensor& from, std::span<const int32_t> channels) {
  Shape shape = from.shape();
  const int wide = shape.back(), narrow = static_cast<int>(channels.size());
  shape[shape.axes() - 1] = narrow;
  const Tensor to(shape, from.device()), index = Tensor::from(channels, {narrow}, from.device());
  kernels::gather_channels(from.device(), from.elements() / wide, wide, narrow, from.f32(), index.s32(),
                           to.f32());
  return to;
}

/// Memory that counts in a total as long as this lives.
class Reserved {
 public:
  Reserved(std::atomic<int64_t>& total, int64_t bytes) : total_(total), bytes_(bytes) { total_ += bytes; }
  ~Reserved() { total_ -= bytes_; }
  Reserved(const Reserved&) = delete;

 private:
  std::atomic<int64_t>& total_;
  const int64_t bytes_;
};

}  // namespace

/// The states of all batches at a cut.
struct Sweep::Kept {
  int cut;
  States states;
  Reserved memory;
};

/// Items [first, last) of a graph that numbers its values as the sweep's graph does.
struct Sweep::Piece {
  std::vector<int> in, out;
  std::unique_ptr<Session> session;  ///< none for an empty piece

  Piece(const Graph& graph, int first, int last) {
    if (first == last) return;
    const Graph part = graph.slice(first, last);
    for (const int v : part.inputs) in.push_back(graph.find(part.values[v].name));
    for (const int v : part.outputs) out.push_back(graph.find(part.values[v].name));
    session = std::make_unique<Session>(part);
  }

  /// The outputs live until the next run.
  const Tensors& run(const std::map<int, Tensor>& values) const {
    Tensors inputs;
    for (const int v : in) inputs.push_back(values.at(v));
    return session->run(inputs);
  }
};

Sweep::Sweep(const Graph& graph, const Task& task, BatchSource& source, int64_t memory)
    : graph_(graph), task_(task), source_(source), memory_(memory) {
  ESPALIER_CHECK(graph.inputs.size() == 1, "sensitivity: the model has ", graph.inputs.size(),
                 " inputs; only images are fed to it");
}

Sweep::~Sweep() = default;

Sweep::State Sweep::load(Batch batch) {
  const Tensor images = network_images(batch, graph_.device());
  if (metas_.empty()) {
    Shape one = images.shape();
    images_per_batch_ = one[0];
    one[0] = 1;
    metas_ = graph_.infer({{one, images.dtype()}});
  }
  State state;
  state.values[graph_.inputs[0]] = images;
  batch.images = Tensor::without_data(images.meta());  // metrics ask for its size
  state.batch = std::make_shared<const Batch>(std::move(batch));
  return state;
}

std::vector<int> Sweep::live(int cut) const {
  std::set<int> read(graph_.outputs.begin(), graph_.outputs.end()), made;
  const int count = static_cast<int>(graph_.items.size());
  for (int i = cut; i < count; ++i) {
    read.insert(graph_.items[i].in.begin(), graph_.items[i].in.end());
    made.insert(graph_.items[i].out.begin(), graph_.items[i].out.end());
  }
  std::vector<int> crossing;
  for (const int v : read)
    if (!graph_.is_parameter(v) && !made.count(v)) crossing.push_back(v);
  return crossing;
}

int64_t Sweep::bytes_per_image(int cut) const {
  int64_t bytes = 0;
  for (const int v : live(cut)) bytes += metas_[v].shape.elements() * bytes_of(metas_[v].dtype);
  return bytes;
}

int64_t Sweep::bytes_of_run(int cut) const {
  int64_t most = 0;
  for (size_t i = cut; i < graph_.items.size(); ++i) {
    int64_t bytes = bytes_per_image(static_cast<int>(i));
    for (const int v : graph_.items[i].out) bytes += metas_[v].shape.elements() * bytes_of(metas_[v].dtype);
    most = std::max(most, bytes);
  }
  return most * images_per_batch_;
}

MetricResult Sweep::baseline() {
  const std::unique_ptr<Metric> metric = task_.metric();
  load_all(metric.get());
  return metric->summary();
}

void Sweep::load_all(Metric* metric) {
  const Piece whole(graph_, 0, metric ? static_cast<int>(graph_.items.size()) : 0);
  Batch batch;
  source_.start();
  images_ = 0;
  kept_.reset();
  States states;
  bool keep = true;
  while (source_.next(batch)) {
    stop_if_interrupted();
    images_ += batch.size();
    State state = load(std::move(batch));
    if (metric) update(*metric, whole, state, {}, {});
    keep = keep && images_ * bytes_per_image(0) <= memory_;
    if (keep)
      states.push_back(std::move(state));
    else
      states.clear();
  }
  ESPALIER_CHECK(images_ > 0, "sensitivity: the evaluation set gives no batch; check the list");
  if (keep) kept_.reset(new Kept{0, std::move(states), {in_use_, images_ * bytes_per_image(0)}});
}

bool Sweep::keep_at(int cut, Crew& crew) {
  if (!kept_ || kept_->cut == cut) return kept_ != nullptr;
  const int64_t bytes = images_ * bytes_per_image(cut);
  if (bytes > memory_) return false;
  // What other curves still start from stays beside it.
  crew.wait_until([&](int free) { return free > 0 && in_use_ + bytes <= memory_; });
  const kernels::Threads threads(crew.free());
  States states = advanced(0, source_.batches(), cut, kept_.use_count() == 1);
  kept_.reset(new Kept{cut, std::move(states), {in_use_, bytes}});
  return true;
}

Sweep::States Sweep::advanced(int64_t first, int64_t count, int cut, bool consume) {
  const int from = kept_ ? kept_->cut : 0;
  const Piece piece(graph_, from, cut);
  const std::vector<int> crossing = live(cut);
  States states;
  Batch batch;
  if (!kept_) source_.start(0, first);
  for (int64_t b = first; b < first + count; ++b) {
    stop_if_interrupted();
    State state;
    if (kept_)
      state = consume ? std::move(kept_->states[b]) : kept_->states[b];
    else if (source_.next(batch))
      state = load(std::move(batch));
    else
      break;
    std::map<int, Tensor> values;
    if (piece.session) {
      const Tensors& outputs = piece.run(state.values);
      for (size_t i = 0; i < outputs.size(); ++i)
        if (std::binary_search(crossing.begin(), crossing.end(), piece.out[i]))
          values[piece.out[i]] = outputs[i].clone();
    }
    for (const int v : crossing)
      if (const auto at = state.values.find(v); at != state.values.end()) values[v] = at->second;
    state.values = std::move(values);
    states.push_back(std::move(state));
  }
  return states;
}

int Sweep::cut(const ChannelGroup& group) const {
  const int count = static_cast<int>(graph_.items.size());
  int first_mixer = count, first_member = count;
  for (const ChannelGroup::Member& m : group.members)
    for (const int item : graph_.consumers(m.value)) {
      first_member = std::min(first_member, item);
      if (m.reads) first_mixer = std::min(first_mixer, item);
    }
  return first_mixer < count ? first_mixer : first_member;
}

Sweep::Places Sweep::places_of(const ChannelGroup& group, int cut) const {
  Metas metas;
  for (const Graph::Value& v : graph_.values) metas.push_back(v.meta);
  ChannelTies ties;
  for (const Graph::Item& item : graph_.items) {
    ties.begin_item(item.in, item.out, metas);
    item.op->channels(ties);
  }
  std::map<int, int> number;  // of each set of tied channels in the group
  const ChannelGroup::Member& m = group.members.front();
  for (int c = 0; c < group.channels; ++c) number[ties.find({m.value, m.axis}, m.index[c])] = c;
  Places places;
  for (const int v : live(cut)) {
    const Shape& shape = metas[v].shape;
    if (shape.axes() < 2) continue;
    std::vector<int> channels;
    for (int c = 0; c < shape.back(); ++c) {
      const auto at = number.find(ties.find({v, shape.axes() - 1}, c));
      channels.push_back(at == number.end() ? -1 : at->second);
    }
    if (std::any_of(channels.begin(), channels.end(), [](int c) { return c >= 0; }))
      places[v] = std::move(channels);
  }
  return places;
}

void Sweep::update(Metric& metric, const Piece& piece, const State& state, const Places& places,
                   const std::vector<int>& removed) const {
  std::map<int, Tensor> values = state.values;
  for (const auto& [v, channels] : places) {
    std::vector<int32_t> kept;
    for (size_t c = 0; c < channels.size(); ++c)
      if (channels[c] < 0 || !std::binary_search(removed.begin(), removed.end(), channels[c]))
        kept.push_back(static_cast<int32_t>(c));
    values[v] = gather(values.at(v), kept);
  }
  const Tensors& made = piece.run(values);
  Tensors outputs;
  for (const int v : graph_.outputs) {
    const auto at = std::find(piece.out.begin(), piece.out.end(), v);
    outputs.push_back(at != piece.out.end() ? made[at - piece.out.begin()] : values.at(v));
  }
  metric.update(outputs, *state.batch);
}

void Sweep::measure(std::vector<Curve> curves) {
  std::erase_if(curves, [](const Curve& curve) { return curve.removals.empty(); });
  std::stable_sort(curves.begin(), curves.end(),
                   [&](const Curve& a, const Curve& b) { return cut(*a.group) < cut(*b.group); });
  const bool alone = graph_.device() != Device::kCpu || kernels::threads() == 1;
  Crew crew(kernels::threads());
  for (size_t i = 0; i < curves.size(); ++i) {
    const Curve& curve = curves[i];
    const int at = cut(*curve.group);
    if (images_ == 0 || (kept_ && at < kept_->cut)) {
      crew.wait();
      load_all(nullptr);
    }
    const bool fits = keep_at(at, crew);
    if (alone || !fits) {
      crew.wait();
      measure(curve, at, fits ? &kept_->states : nullptr, crew);
      continue;
    }
    const int64_t run = bytes_of_run(at);
    crew.wait_until([&](int free) { return free > 0 && in_use_ + run <= memory_; });
    const int64_t beside =
        std::min((memory_ - in_use_) / std::max<int64_t>(1, run), static_cast<int64_t>(curves.size() - i));
    const int free = crew.free(), threads = free / static_cast<int>(std::clamp<int64_t>(beside, 1, free));
    crew.start(threads,
               [this, &curve, at, &crew, kept = kept_, memory = std::make_shared<Reserved>(in_use_, run)] {
                 measure(curve, at, &kept->states, crew);
               });
  }
  crew.wait();
}

void Sweep::measure(const Curve& curve, int at, const States* states, const Crew& crew) {
  const int64_t count = source_.batches();
  const int64_t used = kept_ && !states ? images_ * bytes_per_image(kept_->cut) : 0;
  const int64_t one = std::max<int64_t>(1, bytes_per_image(at) * images_per_batch_);
  const int64_t part = states ? count : std::clamp<int64_t>((memory_ - used) / one, 1, count);
  const Places places = places_of(*curve.group, at);
  const kernels::Untimed a_width_runs_few_batches;
  for (size_t i = 0; i < curve.removals.size(); ++i) {
    const Running place(str(curve.group->name, " without ", curve.removals[i].size(), " of ",
                            curve.group->channels, " channels"));
    Graph smaller = graph_;
    remove_channels(smaller, {{*curve.group, curve.removals[i]}});
    const Piece piece(smaller, at, static_cast<int>(graph_.items.size()));
    std::vector<int> removed = curve.removals[i];
    std::sort(removed.begin(), removed.end());
    const std::unique_ptr<Metric> metric = task_.metric();
    for (int64_t first = 0; first < count; first += part) {
      const States fresh = states ? States() : advanced(first, std::min(part, count - first), at, false);
      for (const State& state : states ? *states : fresh) {
        stop_if_interrupted();
        if (crew.failed()) return;
        update(*metric, piece, state, places, removed);
      }
    }
    const MetricResult result = metric->summary();
    const std::lock_guard lock(done_);
    if (!curve.done(i, result)) return;
  }
}

}  // namespace espalier
