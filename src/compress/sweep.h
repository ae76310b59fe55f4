#pragma once
// The evaluations behind a sensitivity sweep. For each group of channels the network is divided at the first
// item that mixes them: what stands before it is the same for all ratios, but for channels to be left out.

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "graph/channel_groups.h"
#include "runtime/session.h"
#include "tasks/task.h"

namespace espalier {

class Sweep {
 public:
  /// Keeps references. Up to `memory` bytes of activations are kept between evaluations.
  Sweep(const Graph& graph, const Task& task, BatchSource& source, int64_t memory);
  ~Sweep();

  /// The metric with nothing removed.
  MetricResult baseline();

  /// The item before which the network is divided for a group: the first whose result changes by more than
  /// missing channels.
  int cut(const ChannelGroup& group) const;

  /// Measures the group with each of these sets of channels removed, in order; done(i, result) is called as
  /// soon as set i is finished and returns false to leave out the rest. Groups whose cuts rise from call to
  /// call share the work before them.
  void measure(const ChannelGroup& group, const std::vector<std::vector<int>>& removals,
               const std::function<bool(size_t, const MetricResult&)>& done);

 private:
  struct Piece;
  /// One batch, with the values of graph_ that cross a cut.
  struct State {
    Batch batch;
    std::map<int, Tensor> values;
  };
  using States = std::vector<State>;
  /// Per value that crosses a cut and has channels of the group: each channel's number in the group, or -1.
  using Places = std::map<int, std::vector<int>>;

  State load(Batch batch);
  /// Reads the source once; keeps the batches if they fit, and measures the whole network if asked to.
  void load_all(Metric* metric);
  /// The states of some batches at a cut, from what is kept or from the source. With `consume` each kept
  /// state goes as soon as the next one is made, so that both never lie in memory as a whole.
  States advanced(int64_t first, int64_t count, int cut, bool consume);
  void update(Metric& metric, const Piece& piece, const State& state, const Places& places,
              const std::vector<int>& removed) const;
  Places places_of(const ChannelGroup& group, int cut) const;
  std::vector<int> live(int cut) const;  ///< values made before the cut and read after it, ascending
  int64_t bytes_per_image(int cut) const;

  const Graph& graph_;
  const Task& task_;
  BatchSource& source_;
  const int64_t memory_;
  Metas metas_;         ///< of all values, for one image of the source; empty before the first batch
  int64_t images_ = 0;  ///< in the batches used
  int images_per_batch_ = 1;
  States states_;  ///< of all batches, at states_cut_; empty when they do not fit into memory_
  int states_cut_ = 0;
};

}  // namespace espalier
