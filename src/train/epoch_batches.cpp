#include "train/epoch_batches.h"

#include <utility>

#include "base/error.h"
#include "train/step_clock.h"

namespace espalier {

EpochBatches::EpochBatches(BatchSource& source) : source_(source), count_(source.batches()) {
  ESPALIER_CHECK(count_ > 0, "training: the data set of ", source.samples(),
                 " pictures fills no batch; make the batch smaller or add pictures");
}

void EpochBatches::start(int epoch, int64_t first) {
  source_.start(epoch, first);
  epoch_ = epoch;
  position_ = first;
  ahead_.reset();
  failure_ = nullptr;
}

Batch EpochBatches::read() {
  const Stopwatch time;
  Batch batch;
  ESPALIER_CHECK(source_.next(batch), "training: the data ended after ", position_, " batches of epoch ",
                 epoch_ + 1, ", ", count_, " were promised");
  ++position_;
  waited_ += time.seconds();
  return batch;
}

Batch EpochBatches::next() {
  if (failure_) std::rethrow_exception(failure_);
  if (!ahead_) return read();
  Batch batch = std::move(*ahead_);
  ahead_.reset();
  return batch;
}

void EpochBatches::read_ahead(const std::function<void(const Batch&)>& stage) {
  if (ahead_ || position_ >= count_) return;
  try {
    ahead_ = read();
    stage(*ahead_);
  } catch (const OutOfMemory&) {  // it is sent later, with more memory free
  } catch (...) {
    failure_ = std::current_exception();
  }
}

double EpochBatches::take_waited() { return std::exchange(waited_, 0.0); }

}  // namespace espalier
