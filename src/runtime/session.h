#pragma once
// The inference runtime. It folds and fuses, packs weights once, plans one arena from the values' lifetimes,
// and then runs prepared kernels: no allocation, no lookup and no shape check per call.

#include <memory>

#include "graph/graph.h"

namespace espalier {

struct SessionOptions {
  bool optimise = true;  ///< fold batch norms and fuse epilogues on a private copy of the graph first
  bool pad = true;  ///< and there, on a GPU, fill odd groups of channels up to what its kernels load at once
  int kept_plans = 2;  ///< prepared input shapes that stay ready; the least recently used goes first
};

/// For one caller at a time: the memory of a run is the session's.
class Session {
 public:
  /// Takes FP32 and INT8 graphs. Later changes of the graph's parameters do not reach the session. Throws
  /// Error for parameters without values.
  explicit Session(const Graph& graph, const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// Outputs live in the session, on the device of the graph's parameters, and are valid until the next
  /// run(). A new input shape is planned on first use; inputs may come from any device. Throws Error when the
  /// number, type or shape of the inputs does not fit the graph.
  const Tensors& run(const Tensors& inputs);

  const Graph& graph() const;    ///< as it runs, after the passes; packed weights have no data there any more
  int64_t arena_bytes() const;   ///< of the latest plan
  int64_t packed_bytes() const;  ///< of the latest plan's weights

  /// Milliseconds of each item in one run, in the order of graph().items, 0 for items that the kernel of a
  /// later one includes; for `espalier bench --layers`. Their sum exceeds a plain run by the clock's own
  /// cost.
  std::vector<double> profile(const Tensors& inputs);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace espalier
