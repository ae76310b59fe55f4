#include "compress/sweep.h"

#include <algorithm>
#include <cassert>
#include <set>

#include "base/error.h"
#include "base/interrupt.h"
#include "ops/channel_ties.h"
#include "passes/remove_channels.h"

namespace espalier {

namespace {

void stop_if_interrupted() {
  if (interrupt_requested()) throw Interrupted("interrupted");
}

/// The given channels of the last axis.
Tensor gather(const Tensor& from, const std::vector<int>& channels) {
  const Tensor source = from.to(Device::kCpu);
  Shape shape = from.shape();
  const int64_t wide = shape.back(), rows = from.elements() / wide;
  const auto narrow = static_cast<int64_t>(channels.size());
  shape[shape.axes() - 1] = static_cast<int>(narrow);
  const Tensor target(shape);
  const float* read = source.f32();
  float* write = target.f32();
  const int* index = channels.data();
#pragma omp parallel for
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < narrow; ++c) write[r * narrow + c] = read[r * wide + index[c]];
  return target.to(from.device());
}

}  // namespace

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
  if (metas_.empty()) {
    Shape one = batch.images.shape();
    images_per_batch_ = one[0];
    one[0] = 1;
    metas_ = graph_.infer({{one, batch.images.dtype()}});
  }
  State state{std::move(batch), {}};
  state.values[graph_.inputs[0]] = state.batch.images;
  state.batch.images = Tensor::without_data(state.batch.images.meta());  // metrics ask for its size
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
  states_.clear();
  states_cut_ = 0;
  bool keep = true;
  while (source_.next(batch)) {
    stop_if_interrupted();
    images_ += batch.size();
    State state = load(std::move(batch));
    if (metric) update(*metric, whole, state, {}, {});
    keep = keep && images_ * bytes_per_image(0) <= memory_;
    if (keep)
      states_.push_back(std::move(state));
    else
      states_.clear();
  }
  ESPALIER_CHECK(images_ > 0, "sensitivity: the evaluation set gives no batch; check the list");
}

Sweep::States Sweep::advanced(int64_t first, int64_t count, int cut, bool consume) {
  const bool kept = !states_.empty();
  const int from = kept ? states_cut_ : 0;
  const Piece piece(graph_, from, cut);
  const std::vector<int> crossing = live(cut);
  States states;
  Batch batch;
  if (!kept) source_.start(0, first);
  for (int64_t b = first; b < first + count; ++b) {
    stop_if_interrupted();
    State state;
    if (kept)
      state = consume ? std::move(states_[b]) : states_[b];
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
    std::vector<int> kept;
    for (size_t c = 0; c < channels.size(); ++c)
      if (channels[c] < 0 || !std::binary_search(removed.begin(), removed.end(), channels[c]))
        kept.push_back(static_cast<int>(c));
    values[v] = gather(values.at(v), kept);
  }
  const Tensors& made = piece.run(values);
  Tensors outputs;
  for (const int v : graph_.outputs) {
    const auto at = std::find(piece.out.begin(), piece.out.end(), v);
    const Tensor& output = at != piece.out.end() ? made[at - piece.out.begin()] : values.at(v);
    outputs.push_back(output.to(Device::kCpu));
  }
  metric.update(outputs, state.batch);
}

void Sweep::measure(const ChannelGroup& group, const std::vector<std::vector<int>>& removals,
                    const std::function<bool(size_t, const MetricResult&)>& done) {
  if (removals.empty()) return;
  const int at = cut(group), end = static_cast<int>(graph_.items.size());
  if (images_ == 0 || at < states_cut_) load_all(nullptr);
  const int64_t count = source_.batches(), bytes = bytes_per_image(at);
  const bool keeps = !states_.empty();
  if (keeps && at > states_cut_ && images_ * bytes <= memory_) {
    states_ = advanced(0, count, at, true);
    states_cut_ = at;
  }
  // What does not fit is computed again for every set, a part of the batches at a time.
  const bool ready = keeps && states_cut_ == at;
  const int64_t used = keeps ? images_ * bytes_per_image(states_cut_) : 0;
  const int64_t fit = (memory_ - used) / std::max<int64_t>(1, bytes * images_per_batch_);
  const int64_t chunk = ready ? count : std::clamp<int64_t>(fit, 1, count);

  const Places places = places_of(group, at);
  for (size_t i = 0; i < removals.size(); ++i) {
    Graph smaller = graph_;
    remove_channels(smaller, {{group, removals[i]}});
    const Piece piece(smaller, at, end);
    std::vector<int> removed = removals[i];
    std::sort(removed.begin(), removed.end());
    const std::unique_ptr<Metric> metric = task_.metric();
    for (int64_t first = 0; first < count; first += chunk) {
      const States fresh = ready ? States() : advanced(first, std::min(chunk, count - first), at, false);
      for (const State& state : ready ? states_ : fresh) {
        stop_if_interrupted();
        update(*metric, piece, state, places, removed);
      }
    }
    if (!done(i, metric->summary())) return;
  }
}

}  // namespace espalier
