#pragma once
// The batches of an epoch, one of them ahead while a GPU is busy.

#include <cstdint>
#include <exception>
#include <functional>
#include <optional>

#include "tasks/task.h"

namespace espalier {

class EpochBatches {
 public:
  /// Throws Error for a source that fills no batch.
  explicit EpochBatches(BatchSource& source);

  int64_t count() const { return count_; }  ///< of an epoch

  /// Begins at batch `first` of the epoch.
  void start(int epoch, int64_t first);

  /// Throws Error when the source ends early, and what read_ahead() ran into.
  Batch next();

  /// Reads what next() will give, if the epoch has more, and hands it to `stage`. Throws nothing: what fails
  /// is said when its turn comes, and a batch that finds no memory on a device is sent later.
  void read_ahead(const std::function<void(const Batch&)>& stage);

  /// Seconds that next() and read_ahead() waited for the source since they were last asked for.
  double take_waited();

 private:
  Batch read();

  BatchSource& source_;
  int64_t count_;
  int epoch_ = 0;
  int64_t position_ = 0;  ///< of the next batch to be read
  double waited_ = 0;
  std::optional<Batch> ahead_;
  std::exception_ptr failure_;
};

}  // namespace espalier
