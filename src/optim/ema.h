#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace espalier {

namespace kernels {
class SharedControl;
class SliceTable;
struct StepControl;
}  // namespace kernels

/// An exponential moving average of all f32 parameters, running statistics included, that is evaluated and
/// kept instead of the parameters themselves:
///   average += (1 - d) * (w - average),  d = min(decay, (1 + t) / (10 + t)) after t updates
/// so that early averages forget the initial weights (as TensorFlow's ExponentialMovingAverage does).
class Ema {
 public:
  /// Starts at the graph's parameters. decay in (0, 1).
  Ema(const Graph& graph, double decay);
  ~Ema();

  void update();
  /// The same in parts, as Optimizer's: counts an update and says how far it goes; moves the averages.
  void announce(kernels::StepControl& control);
  void move(const kernels::StepControl* control) const;
  /// The graph with the averages in place of its parameters; shares the averages, which go on changing.
  Graph averaged() const;

  std::vector<std::pair<std::string, Tensor>> state() const;  ///< by parameter name
  /// Throws Error when a tensor is missing or of another shape.
  void load_state(const std::map<std::string, Tensor>& state, int64_t updates);
  int64_t updates() const { return updates_; }

 private:
  Graph source_, average_;
  double decay_;
  int64_t updates_ = 0;
  std::unique_ptr<kernels::SliceTable> table_;
  std::unique_ptr<kernels::SharedControl> control_;
};

}  // namespace espalier
