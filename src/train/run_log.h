#pragma once

#include <filesystem>
#include <memory>

#include "report/csv.h"
#include "report/tensorboard.h"
#include "train/loop.h"
#include "train/run_state.h"
#include "train/step_clock.h"

namespace espalier {

/// What a run leaves for people: log lines, a table of epochs, TensorBoard events.
class RunLog {
 public:
  RunLog(const TrainOptions& options, std::string metric) : options_(options), metric_(std::move(metric)) {}

  /// From now on into the options' folder; takes over what a run that is resumed at `state` has written.
  void open(const RunState& state);
  void step(const StepReport& report);
  void epoch(const EpochReport& report, const StepClock& clock);

 private:
  const TrainOptions& options_;
  std::string metric_;
  std::unique_ptr<CsvTable> table_;
  std::unique_ptr<TensorBoardWriter> events_;
};

}  // namespace espalier
