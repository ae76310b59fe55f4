#include "compress/latency_table.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/random.h"
#include "compress/widths.h"
#include "io/file.h"
#include "runtime/blocks.h"
#include "runtime/session.h"

namespace espalier {

namespace {

constexpr const char* kFormat = "espalier-latency-table";
constexpr int kMultiple = 8;

std::vector<int> all_channels(const std::vector<ChannelGroup>& groups) {
  std::vector<int> kept;
  for (const ChannelGroup& group : groups) kept.push_back(group.channels);
  return kept;
}

/// The widths at which a group of so many channels is measured, rising.
std::vector<int> widths_of(int channels, size_t groups) {
  const std::vector<double> shares =
      groups < 3 ? std::vector<double>{0.125, 0.25, 0.5, 0.75, 1} : std::vector<double>{0.125, 0.5, 1};
  std::vector<int> widths;
  for (const double share : shares) {
    const int width = static_cast<int>(std::ceil(channels * share / kMultiple)) * kMultiple;
    widths.push_back(share == 1 ? channels : std::min(width, channels));
  }
  widths.erase(std::unique(widths.begin(), widths.end()), widths.end());
  return widths;
}

Tensor random_values(const Shape& shape, Device device) {
  Random random(1, Purpose::kTest);
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (float& v : values) v = static_cast<float>(random.uniform(-0.1, 0.1));
  return Tensor::from(values, shape, device);
}

/// What the file holds of this machine: {"format", "version", "machine", "networks": {key: ms}, "layers":
/// {shape: {widths: ms}}}.
Json read_table(const std::filesystem::path& file, const Json& machine) {
  Json table;
  if (std::filesystem::exists(file)) table = parse_json(read_file(file));
  if (table.is_object() && table.value("format", Json()) == kFormat && table.value("version", Json()) == 1 &&
      table.value("machine", Json()) == machine && table.value("networks", Json()).is_object() &&
      table.value("layers", Json()).is_object())
    return table;
  return {{"format", kFormat},
          {"version", 1},
          {"machine", machine},
          {"networks", Json::object()},
          {"layers", Json::object()}};
}

/// The table while it is filled.
class Notes {
 public:
  Notes(const std::filesystem::path& file, const Json& machine)
      : file_(file), table_(read_table(file, machine)) {}

  /// The time under a section's key, measured and noted when it is not there.
  template <class Measure>
  double time_of(Json& section, const std::string& key, const Measure& measure) {
    const auto possible = [](double ms) { return ms > 0 && std::isfinite(ms); };
    if (const auto found = section.find(key);
        found != section.end() && found->is_number() && possible(found->get<double>()))
      return found->get<double>();
    double ms = 0;
    try {
      if (interrupt_requested()) throw Interrupted("");
      ms = measure();
    } catch (const Interrupted&) {
      save();
      throw Interrupted("latencies: interrupted; what was measured is kept, the same command continues");
    }
    ESPALIER_CHECK(possible(ms), "latencies: ", key, " took ", ms, " ms; a time must be positive and finite");
    section[key] = ms;
    ++measured_;
    return ms;
  }

  Json& section(const char* part) { return table_[part]; }
  Json& layer(const std::string& shape) {
    Json& times = table_["layers"][shape];
    if (!times.is_object()) times = Json::object();
    return times;
  }
  int measured() const { return measured_; }

  /// Nothing where nothing is new.
  void save() {
    if (measured_ > saved_) write_atomically(file_, table_.dump(1) + "\n");
    saved_ = measured_;
  }

 private:
  const std::filesystem::path& file_;
  Json table_;
  int measured_ = 0, saved_ = 0;
};

/// Whether a group of the runtime's graph is that of the model's: passes that split filters put something
/// behind their name.
bool is_same(const Graph& runtime, const ChannelGroup& its, const Graph& model, const ChannelGroup& group) {
  const auto makes =
      std::find_if(group.members.begin(), group.members.end(), [](auto& m) { return m.produces; });
  const std::string& name = model.values[makes->value].name;
  return its.channels == group.channels &&
         std::any_of(its.members.begin(), its.members.end(), [&](const ChannelGroup::Member& m) {
           const std::string& other = runtime.values[m.value].name;
           return m.axis == makes->axis && (other == name || other.starts_with(name + "/"));
         });
}

/// The next point of a grid, the last index fastest; false after the last one.
bool advance(std::vector<size_t>& at, const std::vector<std::vector<int>>& widths) {
  for (size_t axis = at.size(); axis-- > 0;) {
    if (++at[axis] < widths[axis].size()) return true;
    at[axis] = 0;
  }
  return false;
}

}  // namespace

LatencyTable::LatencyTable(const Graph& graph, const std::filesystem::path& file, const Json& machine,
                           const LatencyMeasures& measures)
    : graph_(Session(graph, {.pad = false}).graph()) {
  const std::vector<ChannelGroup> found = channel_groups(graph_);
  for (const ChannelGroup& group : channel_groups(graph)) {
    const auto same = std::find_if(found.begin(), found.end(), [&](const ChannelGroup& its) {
      return is_same(graph_, its, graph, group);
    });
    ESPALIER_CHECK(same != found.end(), "latencies: group ", group.name,
                   " is gone after the runtime's passes");
    groups_.push_back(*same);
  }
  find_layers();
  measure(file, machine, measures);
  scale_ = full_ms_ / sum(all_channels(groups_));
}

void LatencyTable::find_layers() {
  const std::vector<int> full = all_channels(groups_);
  const Metas whole = metas_at(graph_, groups_, full);
  std::vector<Metas> wider;  // by one channel of each group, since a group may have but one
  for (size_t g = 0; g < groups_.size(); ++g) {
    std::vector<int> kept = full;
    ++kept[g];
    wider.push_back(metas_at(graph_, groups_, kept));
  }
  const std::vector<Block> blocks = blocks_of(graph_);
  for (int i = 0; i < static_cast<int>(blocks.size()); i = blocks[i].last + 1) {
    Layer layer;
    layer.first = blocks[i].first;
    layer.last = blocks[i].last;
    for (int at = layer.first; at <= layer.last; ++at) {
      const Graph::Item& item = graph_.items[at];
      layer.shape +=
          str(layer.shape.empty() ? "" : "; ", item.op->name(), attributes_to_json(*item.op).dump());
      for (const int v : item.in) {
        layer.shape += " [";
        for (int axis = 0; axis < whole[v].shape.axes(); ++axis) {
          layer.shape += str(axis ? "," : "", whole[v].shape[axis]);
          for (int g = 0; g < static_cast<int>(groups_.size()); ++g) {
            const int times = wider[g][v].shape[axis] - whole[v].shape[axis];
            if (times == 0) continue;
            const auto known = std::find(layer.groups.begin(), layer.groups.end(), g);
            layer.shape += std::string(times, static_cast<char>('a' + (known - layer.groups.begin())));
            if (known == layer.groups.end()) layer.groups.push_back(g);
          }
        }
        layer.shape += "]";
      }
    }
    for (const int g : layer.groups) {
      layer.shape += str(" ", groups_[g].channels);
      layer.widths.push_back(widths_of(groups_[g].channels, layer.groups.size()));
    }
    layers_.push_back(std::move(layer));
  }
}

/// The layer alone, with the point's widths and random weights.
Graph LatencyTable::graph_at(const Layer& layer, const std::vector<int>& point) const {
  std::vector<int> kept = all_channels(groups_);
  for (size_t i = 0; i < point.size(); ++i) kept[layer.groups[i]] = point[i];
  const Metas metas = metas_at(graph_, groups_, kept);
  Graph graph = graph_;
  for (size_t v = 0; v < metas.size(); ++v) graph.values[v].meta = metas[v];
  for (int i = layer.first; i <= layer.last; ++i)
    for (const int v : graph.items[i].in)
      if (graph.is_parameter(v)) graph.values[v].param = random_values(metas[v].shape, graph_.device());
  return graph.slice(layer.first, layer.last + 1);
}

void LatencyTable::measure(const std::filesystem::path& file, const Json& machine,
                           const LatencyMeasures& measures) {
  Notes notes(file, machine);
  std::string network;
  for (Layer& layer : layers_) {
    network += layer.shape + "\n";
    Json& times = notes.layer(layer.shape);
    std::vector<size_t> at(layer.widths.size(), 0);
    do {
      std::vector<int> point;
      std::string key;
      for (size_t i = 0; i < at.size(); ++i) {
        point.push_back(layer.widths[i][at[i]]);
        key += str(i ? "," : "", point.back());
      }
      double ms = notes.time_of(times, key, [&] { return measures.layer(graph_at(layer, point)); });
      // The neighbour one step narrower along each group lies earlier in the grid.
      size_t step = 1;
      for (size_t i = at.size(); i-- > 0; step *= layer.widths[i].size())
        if (at[i] > 0) ms = std::max(ms, *(layer.ms.end() - static_cast<std::ptrdiff_t>(step)));
      layer.ms.push_back(ms);
    } while (advance(at, layer.widths));
    notes.save();
  }
  const std::string key = std::to_string(fnv1a(network.data(), network.size()));
  full_ms_ = notes.time_of(notes.section("networks"), key, [&] { return measures.network(graph_); });
  notes.save();
  measured_ = notes.measured();
}

double LatencyTable::ms_of(const Layer& layer, const std::vector<int>& kept) const {
  // Corner by corner of the cell that the widths lie in.
  const size_t axes = layer.groups.size();
  std::vector<size_t> low(axes, 0);
  std::vector<double> share(axes, 0);  // of the way to the upper corner
  for (size_t i = 0; i < axes; ++i) {
    const std::vector<int>& widths = layer.widths[i];
    const int width = kept[layer.groups[i]];
    while (low[i] + 1 < widths.size() && widths[low[i] + 1] <= width) ++low[i];
    if (low[i] + 1 < widths.size() && width > widths[low[i]])
      share[i] = static_cast<double>(width - widths[low[i]]) / (widths[low[i] + 1] - widths[low[i]]);
  }
  double ms = 0;
  for (size_t corner = 0; corner < size_t{1} << axes; ++corner) {
    double weight = 1;
    size_t index = 0;
    for (size_t i = 0; i < axes; ++i) {
      const bool upper = corner >> i & 1;
      weight *= upper ? share[i] : 1 - share[i];
      index = index * layer.widths[i].size() + std::min(low[i] + upper, layer.widths[i].size() - 1);
    }
    if (weight > 0) ms += weight * layer.ms[index];
  }
  return ms;
}

double LatencyTable::sum(const std::vector<int>& kept) const {
  double ms = 0;
  for (const Layer& layer : layers_) ms += ms_of(layer, kept);
  return ms;
}

double LatencyTable::ms(const std::vector<int>& kept) const { return scale_ * sum(kept); }

}  // namespace espalier
