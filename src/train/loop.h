#pragma once
// The training loop: it knows models, tasks and batches, but no particular one of them.

#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "io/model_file.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "tasks/task.h"
#include "train/distill.h"
#include "train/early_stop.h"

namespace espalier {

enum class KeptModel { kBest, kLast };

struct TrainOptions {
  int epochs = 10;
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  double ema = 0;   ///< decay of the averaged weights, in [0, 1); 0: off
  double clip = 0;  ///< largest norm of all gradients together; 0: off
  EarlyStopOptions early_stop;
  DistillOptions distill;
  int evaluate_every = 1;             ///< epochs; the last epoch is always evaluated
  KeptModel keep = KeptModel::kBest;  ///< which parameters the model has afterwards
  uint64_t seed = 1;                  ///< of dropout; data order and augmentation belong to the source
  Device device = Device::kCpu;

  /// Receives checkpoint.safetensors (all state), best.safetensors (a model file), epochs.csv and TensorBoard
  /// events. Made if missing; empty: nothing is written and nothing can be resumed.
  std::filesystem::path folder;
  bool tensorboard = true;
  /// Within an epoch a checkpoint is written every so many steps or minutes; 0: not. At the end of one it is
  /// written where worth_a_checkpoint() says so (train/checkpoint.h), and always at the last one's.
  int64_t checkpoint_steps = 0;
  double checkpoint_minutes = 5;
  /// Of everything else that decides the result (the recipe's part): a checkpoint of another one is refused.
  uint64_t recipe_hash = 0;
};

/// What one step showed.
struct StepReport {
  int epoch = 0;     ///< counting from 0
  int64_t step = 0;  ///< of the run, counting from 0
  int64_t step_in_epoch = 0, steps_per_epoch = 0, steps = 0;
  double loss = 0, mean_loss = 0;  ///< of this batch; of this epoch so far
  double rate = 0;                 ///< learning rate
  double gradient_norm = 0;        ///< before clipping
  double images_per_second = 0;    ///< over the last steps, without evaluation
  double loader_wait = 0;   ///< share of that time spent waiting for the data: near 1, the loader is the
                            ///< bottleneck
  double seconds_left = 0;  ///< estimated, evaluations included
};

/// What one epoch came to.
struct EpochReport {
  int epoch = 0;                       ///< counting from 0
  int64_t steps = 0;                   ///< of the run so far
  double loss = 0;                     ///< mean over the epoch's steps
  double rate = 0;                     ///< of its last step
  std::optional<MetricResult> metric;  ///< when it was evaluated
  bool best = false;                   ///< the best metric so far
};

/// Both may be empty. They may throw; the last checkpoint stays.
struct TrainCallbacks {
  std::function<void(const StepReport&)> on_step;
  std::function<void(const EpochReport&)> on_epoch;
};

/// Metrics come without their details.
struct TrainResult {
  std::vector<EpochReport> epochs;  ///< all, those before a resume included
  MetricResult best, last;
  int best_epoch = -1;
  int64_t steps = 0;
  bool stopped_early = false;
  bool resumed = false;          ///< it went on from a checkpoint
  double seconds = 0;            ///< of this process, evaluation included
  double images_per_second = 0;  ///< of this process's training steps
  double loader_wait = 0;        ///< share of the training time
  int64_t peak_bytes = 0;        ///< of tensors on the device
};

/// Trains the model in place: momentum or AdamW on the task's loss over `train`, the metric over `eval` after
/// each epoch. With a folder, a run killed at any moment goes on when called again with the same arguments
/// and ends with the same bits; one that has ended returns at once. A resume with another number of threads
/// logs that the end may differ.
///
/// Throws Interrupted after Ctrl-C, with the checkpoint written. Throws Error when the loss or a gradient is
/// not finite, naming step, rate and the first layer where it shows; the best checkpoint is kept. Throws
/// Error for a checkpoint of another recipe, model or data set, and for a model with values that are not
/// finite.
TrainResult train(Model& model, const Task& task, BatchSource& train, BatchSource& eval,
                  const TrainOptions& options, const TrainCallbacks& callbacks = {});

/// Callbacks that show a progress bar on a terminal and plain lines elsewhere, on standard error.
TrainCallbacks show_progress(const Task& task, const TrainOptions& options);

inline constexpr const char* kCheckpointFile = "checkpoint.safetensors";
inline constexpr const char* kBestFile = "best.safetensors";

}  // namespace espalier
