#pragma once
// The inference runtime. It folds and fuses, packs weights once, plans one arena from the values' lifetimes,
// and then runs prepared kernels: no allocation, no lookup and no shape check per call.

#include <memory>

#include "graph/graph.h"

namespace espalier {

struct SessionOptions {
  bool optimise = true;  ///< fold batch norms and fuse epilogues on a private copy of the graph first
  int kept_plans = 2;    ///< prepared input shapes that stay ready; the least recently used goes first
};

class Session {
 public:
  /// Takes FP32 and INT8 graphs. Later changes of the graph's parameters do not reach the session.
  explicit Session(const Graph& graph, const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;

  /// Outputs live in the session and are valid until the next run(). A new input shape is planned on first
  /// use.
  const Tensors& run(const Tensors& inputs);

  const Graph& graph() const;    ///< as it runs, after the passes
  int64_t arena_bytes() const;   ///< of the latest plan
  int64_t packed_bytes() const;  ///< of the latest plan's weights

  /// Milliseconds of each item in one run, in the order of graph().items; for `espalier bench --layers`.
  std::vector<double> profile(const Tensors& inputs);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace espalier
