#pragma once
// A graph made ready for one set of input shapes: every value has an address, every item a kernel bound to
// it.

#include <memory>

#include "graph/graph.h"
#include "kernels/launch_graph.h"
#include "kernels/team.h"
#include "runtime/blocks.h"

namespace espalier {

class Plan {
 public:
  /// `packed` has one entry an item and outlives the plan, see PrepareCtx::packed. Throws Error if the shapes
  /// do not fit the graph.
  Plan(const Graph& graph, const Tensors& inputs, std::vector<std::shared_ptr<void>>& packed);
  ~Plan();

  bool fits(const Tensors& inputs) const;
  /// Copies the inputs in and runs every kernel. If `stamps` is given, it receives the time in seconds before
  /// the first item and after each one.
  const Tensors& run(const Tensors& inputs, double* stamps = nullptr);

  int64_t arena_bytes() const { return arena_bytes_; }
  int64_t packed_bytes() const;

 private:
  /// One step of a kernel; the kernel is null for the inputs' copy.
  struct Step {
    CooperativePrepared* kernel;
    int step, item;
  };
  /// Items [first, last) that one parallel region runs, or one item that wakes threads of its own.
  struct Segment {
    int first, last;
    std::vector<Step> steps;  ///< empty for the latter
  };

  void place_values(const Metas& metas);
  void prepare_kernels(std::vector<std::shared_ptr<void>>& packed);
  void join_blocks();
  void divide_into_segments();
  void copy_inputs(const Tensors& inputs, const kernels::Team& share) const;
  /// True if the first segment's team can copy the inputs.
  bool copies_inside(const Tensors& inputs) const;
  /// Copies the inputs first unless they are null.
  void run_segment(const Segment& segment, const Tensors* inputs, double* stamps);

  const Graph& graph_;
  Device device_ = Device::kCpu;
  Tensor arena_;
  int64_t arena_bytes_ = 0;
  Tensors at_;  ///< per value
  Tensors inputs_, outputs_;
  std::vector<std::unique_ptr<Prepared>> kernels_;  ///< per item
  std::vector<Block> blocks_;                       ///< per item
  std::vector<std::unique_ptr<CooperativePrepared>> joined_;
  std::vector<CooperativePrepared*>
      cooperative_;  ///< per item; null for others and for joined ones but the last
  std::vector<Segment> segments_;
  kernels::Relay relay_;
  kernels::LaunchGraph launches_;  ///< of all items on a GPU; memory of a plan never moves
};

}  // namespace espalier
