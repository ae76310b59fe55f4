#include "passes/split_concat.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "base/error.h"
#include "ops/conv2d.h"
#include "passes/take.h"

namespace espalier {

namespace {

/// Input channels [first, first + count) of filters [K,R,S,C].
Tensor slice_inputs(const Tensor& w, int first, int count) {
  std::vector<int> channels(static_cast<size_t>(count));
  std::iota(channels.begin(), channels.end(), first);
  return take(w, 3, channels);
}

bool joins_channels(const Graph::Item& item) { return item.op->name() == std::string("concat"); }

/// The item that reads the concat at `at`, if it can be split; -1 otherwise.
int splittable_reader(const Graph& graph, int at) {
  const int joined = graph.items[at].out[0];
  const std::vector<int> readers = graph.consumers(joined);
  if (graph.uses(joined) != 1 || readers.size() != 1 || graph.items[at].in.size() < 2) return -1;
  const Graph::Item& reader = graph.items[readers[0]];
  const auto* conv = reader.as<Conv2d>();
  if (!conv || conv->has_residual || reader.in[0] != joined || !graph.is_parameter(reader.in[1])) return -1;
  const Shape& w = graph.values[reader.in[1]].param.shape();
  return w[0] < w[3] ? readers[0] : -1;
}

/// The convolutions that take the place of `reader`, in order.
std::vector<Graph::Item> parts_of(Graph& graph, const Graph::Item& concat, const Graph::Item& reader) {
  const Conv2d& whole = *reader.as<Conv2d>();
  const Tensor w = graph.values[reader.in[1]].param;
  std::vector<Graph::Item> parts;
  int first = 0;
  for (size_t i = 0; i < concat.in.size(); ++i) {
    const bool last = i + 1 == concat.in.size();
    const int channels = graph.values[concat.in[i]].meta.shape.back();
    const Tensor own_w = slice_inputs(w, first, channels);
    first += channels;
    const std::string name = last ? reader.name : str(reader.name, "/part", i);
    auto op = std::make_shared<Conv2d>(whole);
    op->has_residual = i > 0;
    op->has_bias = last && whole.has_bias;
    if (!last) op->act = Activation::none();
    Graph::Item part{name, op, {concat.in[i]}, {}};
    part.in.push_back(static_cast<int>(graph.values.size()));
    graph.values.push_back({str(graph.values[reader.in[1]].name, "/part", i), own_w.meta(), own_w, false});
    if (op->has_bias) part.in.push_back(reader.in[2]);
    if (i > 0) part.in.push_back(parts.back().out[0]);
    if (last) {
      part.out = reader.out;
    } else {
      part.out = {static_cast<int>(graph.values.size())};
      graph.values.push_back({name, graph.values[reader.out[0]].meta, {}, false});
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace

int split_concat(Graph& graph) {
  int split = 0;
  for (int at = 0; at < static_cast<int>(graph.items.size()); ++at) {
    if (!joins_channels(graph.items[at])) continue;
    const int reader = splittable_reader(graph, at);
    if (reader < 0) continue;
    const Graph::Item concat = graph.items[at];
    std::vector<Graph::Item> parts = parts_of(graph, concat, Graph::Item(graph.items[reader]));
    graph.items.erase(graph.items.begin() + reader);
    graph.items.insert(graph.items.begin() + reader, std::make_move_iterator(parts.begin()),
                       std::make_move_iterator(parts.end()));
    graph.items.erase(graph.items.begin() + at);
    --at;
    ++split;
  }
  graph.compact();
  graph.verify();
  return split;
}

}  // namespace espalier
