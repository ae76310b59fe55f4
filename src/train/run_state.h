#pragma once

#include "base/json.h"
#include "train/loop.h"

namespace espalier {

/// Where a run stands, apart from tensors: what a checkpoint keeps as its progress.
struct RunState {
  int epoch = 0;                        ///< the one that is trained, counting from 0
  int64_t step = 0, step_in_epoch = 0;  ///< done so far
  double loss_sum = 0;                  ///< over the epoch's steps so far
  bool finished = false, stopped_early = false;
  int best_epoch = -1;
  EarlyStop::State early_stop;
  std::vector<EpochReport> history;  ///< of the epochs that are done

  const MetricResult& best() const { return *history.at(static_cast<size_t>(best_epoch)).metric; }
  /// Whether a run with so many steps an epoch can stand there; what is read may have been changed by hand.
  bool possible(int64_t steps_an_epoch) const;
};

/// Numbers survive bit for bit.
Json to_json(const RunState& state);
/// Throws nlohmann::json::exception where something is missing or of another type.
RunState run_state_from_json(const Json& json);
Json metric_to_json(const MetricResult& metric);  ///< without details

}  // namespace espalier
