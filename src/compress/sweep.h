#pragma once
// The evaluations behind a sensitivity sweep. For each group of channels the network is divided at the first
// item that mixes them: what stands before it is the same for all ratios, but for channels to be left out.

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "graph/channel_groups.h"
#include "runtime/session.h"
#include "tasks/task.h"

namespace espalier {

class Crew;

class Sweep {
 public:
  /// A group, the sets of its channels to be measured without, in order, and who wants to know: done(i,
  /// result) is called as soon as set i is finished and returns false to leave out the rest.
  struct Curve {
    const ChannelGroup* group;
    std::vector<std::vector<int>> removals;
    std::function<bool(size_t, const MetricResult&)> done;
  };

  /// Keeps references. Activations kept between evaluations and curves measured at once take up to `memory`
  /// bytes; a single run goes ahead whatever it needs.
  Sweep(const Graph& graph, const Task& task, BatchSource& source, int64_t memory);
  ~Sweep();

  /// The metric with nothing removed.
  MetricResult baseline();

  /// The item before which the network is divided for a group: the first whose result changes by more than
  /// missing channels.
  int cut(const ChannelGroup& group) const;

  /// Measures the curves, by rising cuts, so that they share the work before them. On the CPU as many at once
  /// as there are threads and memory for; done() is called by one thread at a time. Results do not depend on
  /// how many.
  void measure(std::vector<Curve> curves);

 private:
  struct Piece;
  /// One batch, with the values of graph_ that cross a cut.
  struct State {
    std::shared_ptr<const Batch> batch;
    std::map<int, Tensor> values;
  };
  using States = std::vector<State>;
  struct Kept;
  /// Per value that crosses a cut and has channels of the group: each channel's number in the group, or -1.
  using Places = std::map<int, std::vector<int>>;

  State load(Batch batch);
  /// Reads the source once; keeps the batches if they fit, and measures the whole network if asked to.
  void load_all(Metric* metric);
  /// Brings what is kept to a cut; false if it does not fit there.
  bool keep_at(int cut, Crew& crew);
  /// The states of some batches at a cut, from what is kept or from the source. With `consume` each kept
  /// state goes as soon as the next one is made, so that both never lie in memory as a whole.
  States advanced(int64_t first, int64_t count, int cut, bool consume);
  /// One curve, from states at its cut. Without them what the cut needs is computed again for every set, a
  /// part of the batches at a time. Ends early when a job of the crew has failed.
  void measure(const Curve& curve, int cut, const States* states, const Crew& crew);
  void update(Metric& metric, const Piece& piece, const State& state, const Places& places,
              const std::vector<int>& removed) const;
  Places places_of(const ChannelGroup& group, int cut) const;
  std::vector<int> live(int cut) const;  ///< values made before the cut and read after it, ascending
  int64_t bytes_per_image(int cut) const;
  int64_t bytes_of_run(int cut) const;  ///< at most, of the network behind a cut on one batch

  const Graph& graph_;
  const Task& task_;
  BatchSource& source_;
  const int64_t memory_;
  std::atomic<int64_t> in_use_{0};  ///< of memory_: by states that are kept and runs beside one another
  Metas metas_;         ///< of all values, for one image of the source; empty before the first batch
  int64_t images_ = 0;  ///< in the batches used
  int images_per_batch_ = 1;
  std::shared_ptr<Kept> kept_;  ///< states of all batches; none when they do not fit into memory_
  std::mutex done_;             ///< while a Curve::done() runs
};

}  // namespace espalier
