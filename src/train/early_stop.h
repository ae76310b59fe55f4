#pragma once

namespace espalier {

struct EarlyStopOptions {
  int patience = 0;         ///< evaluations in a row without improvement that end the run; 0: never (the
                            ///< reference has 5 when it is on)
  double threshold = 1e-4;  ///< what counts as an improvement over the best so far
};

/// Counts evaluations since the best metric rose by more than the threshold. The first one is the best so
/// far. (The reference compares with the previous evaluation instead of the best, and resets on any rise: a
/// metric that goes up and down never stops it.)
class EarlyStop {
 public:
  explicit EarlyStop(const EarlyStopOptions& options) : options_(options) {}

  /// True when the run should end.
  bool update(double metric);

  struct State {
    bool started = false;
    double best = 0;
    int waited = 0;
  };
  State state;

 private:
  EarlyStopOptions options_;
};

}  // namespace espalier
