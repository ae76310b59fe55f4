#pragma once
// How long a network would take at other widths, from measured times of its layers: what a budget in
// milliseconds is counted with.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "graph/channel_groups.h"

namespace espalier {

/// How a LatencyTable measures. Both give milliseconds of a run at batch 1, at the traced input size.
struct LatencyMeasures {
  /// Of a few items, without the copy of what goes in.
  std::function<double(const Graph&)> layer;
  /// Of a whole network as it is.
  std::function<double(const Graph&)> network;
};

/// Times of every layer of a network at a few widths, measured once per machine. A layer is what a Session
/// runs as one kernel: an item, or a block of them (runtime/blocks.h). Its time is measured with random
/// weights on a grid, up to five widths along each group of channels that it touches: the full one and about
/// 3/4, 1/2, 1/4 and 1/8 of it, in multiples of 8; three along each where there are three groups or more.
/// Between the widths it is interpolated linearly along each group; below the least it is the least's. A
/// smaller layer never counts as slower: along each group the largest time so far holds.
///
/// A network's latency is the sum over its layers, times what makes it equal to the measured one where
/// nothing is removed.
class LatencyTable {
 public:
  /// Of an FP32 graph on the device it is measured on. What `file` holds of the same machine (any JSON that
  /// tells machines apart) is taken from it; the rest is measured and written there, atomically, after every
  /// layer, so that interrupted measuring continues. A file of another machine, or a damaged one, is
  /// replaced. Throws Error when a time is not positive and finite; Interrupted, with what was measured
  /// written, after Ctrl-C.
  LatencyTable(const Graph& graph, const std::filesystem::path& file, const Json& machine,
               const LatencyMeasures& measures);

  /// Milliseconds when group g of channel_groups(graph) keeps kept[g] channels.
  double ms(const std::vector<int>& kept) const;
  /// Measured, with nothing removed.
  double full_ms() const { return full_ms_; }

  int layers() const { return static_cast<int>(layers_.size()); }
  int measured() const { return measured_; }  ///< times that the file did not hold

 private:
  struct Layer {
    std::string shape;        ///< "conv2d{...} [1,14,14,64a] [384b,1,1,64a]": the same ones are measured once
    std::vector<int> groups;  ///< that it touches: a, b, ...
    std::vector<std::vector<int>> widths;  ///< per group, rising
    std::vector<double> ms;                ///< of the grid, the last group fastest
    int first = 0, last = 0;               ///< its items
  };

  void find_layers();
  void measure(const std::filesystem::path& file, const Json& machine, const LatencyMeasures& measures);
  Graph graph_at(const Layer& layer, const std::vector<int>& point) const;
  double ms_of(const Layer& layer, const std::vector<int>& kept) const;
  double sum(const std::vector<int>& kept) const;

  Graph graph_;                       ///< as a Session runs it, without padding
  std::vector<ChannelGroup> groups_;  ///< its own, in the order of the given graph's
  std::vector<Layer> layers_;
  double full_ms_ = 0, scale_ = 1;
  int measured_ = 0;
};

}  // namespace espalier
