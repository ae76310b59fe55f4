#pragma once
// One step of a training: from a batch on the host to moved parameters. On a GPU the launches of a step are
// recorded once for each shape of a batch and then started as one.

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "kernels/send_ahead.h"
#include "kernels/step_control.h"
#include "optim/ema.h"
#include "optim/optimizer.h"
#include "tasks/task.h"
#include "tensor/allocator.h"
#include "train/distill.h"
#include "train/divergence.h"

namespace espalier {

/// What a step came to.
struct StepResult {
  double loss = 0;           ///< of the batch, before the step
  double gradient_norm = 0;  ///< before clipping
  bool finite = true;        ///< if not, nothing moved
};

class TrainingStep {
 public:
  /// Moves the parameters of `graph`, which are the optimizer's; all outlive the step. `ema` may be null.
  /// `clip` is the largest norm of all gradients together, 0 for any.
  TrainingStep(const Graph& graph, const Task& task, const Objective& objective, Optimizer& optimizer,
               Ema* ema, double clip, Device device);
  ~TrainingStep();

  /// Runs a step and waits for it; on a GPU the host does `meanwhile`, which must not throw, until it has
  /// ended. Throws Error for targets that the loss does not take, OutOfMemory when a step of this batch alone
  /// finds no memory.
  StepResult run(const Batch& batch, double rate, const std::function<void()>& meanwhile = {});

  /// Sends the batch of the next run() ahead, while a GPU is still at the last one; for `meanwhile`. Throws
  /// Error for targets that the loss does not take. Nothing to do on the CPU.
  void stage(const Batch& batch);

  /// Forward and backward once more without moving anything, for a look at what went wrong: the gradients
  /// stay with the parameters. Returns the images as the graph sees them.
  Tensor repeat(const Batch& batch);

  /// Lets go of recordings and of their memory.
  void forget();

  int recordings() const;  ///< shapes whose launches are started as one

 private:
  struct Work;

  Work& work_for(const Batch& batch);
  Batch on_device(const Batch& batch) const;
  Batch take(const Batch& batch);
  void fill(Work& work, const Batch& batch) const;
  void forward_backward(Work& work) const;
  void launch(Work& work);

  const Graph& graph_;
  const Task& task_;
  const Objective& objective_;
  Optimizer& optimizer_;
  Ema* ema_;
  Device device_;
  StatisticsWatch statistics_;
  kernels::SharedControl control_;
  kernels::SendAhead ahead_;                                 ///< of images
  std::unique_ptr<allocator::OwnBlocks> blocks_;             ///< of a GPU's steps
  std::map<std::vector<int>, std::unique_ptr<Work>> works_;  ///< by the shapes of images and targets
  Batch staged_, staged_there_;                              ///< as it was given, and on the device
};

}  // namespace espalier
