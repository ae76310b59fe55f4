#pragma once
// The numbers that one training step differs by from the next, and those it ends with, where the device's
// kernels read and write them: launches that were recorded once serve every step.

#include <cstdint>

#include "kernels/device.h"
#include "kernels/read_back.h"

namespace espalier::kernels {

struct StepControl {
  // What the host says before a step.
  double clip = 0;                         ///< largest norm of all gradients together; 0: any
  float rate = 0;                          ///< learning rate
  float correction1 = 1, correction2 = 1;  ///< AdamW: 1 - beta^t
  float average_share = 0;                 ///< how far averaged parameters move
  // What the step says, see judge_step().
  double loss = 0, gradient_norm = 0;
  int32_t finite = 0;        ///< loss, gradients and statistics are; nothing moves unless they are
  float gradient_scale = 0;  ///< what clipping multiplies the gradients by
};

/// A StepControl on the host and on the device; on the CPU they are the same.
class SharedControl {
 public:
  explicit SharedControl(Device device);
  ~SharedControl();
  SharedControl(const SharedControl&) = delete;

  StepControl& host() { return host_; }
  StepControl* on_device() { return on_device_; }
  void send();   ///< what the host says; ordered with the stream
  void ask();    ///< for what the step says: fetch() then waits for nothing that is queued later
  void fetch();  ///< what the step said; waits for it

 private:
  Device device_;
  StepControl host_, *on_device_;
  ReadBack said_;
  bool asked_ = false;
};

/// A loss and what it counts.
struct LossShare {
  const float* loss;  ///< on the device
  double share;
};

/// Where judge_step() finds what it judges, all on the device; null: nothing.
struct StepOutcome {
  LossShare losses[2];
  const double *gradient_squares, *statistic_squares;  ///< sums of squares: one bad value shows in them
};

/// control->loss = sum of share * loss, gradient_norm = sqrt(gradient_squares), finite and gradient_scale:
/// 1, or what brings the norm down to control->clip.
void judge_step(Device device, const StepOutcome& outcome, StepControl* control);

}  // namespace espalier::kernels
