#pragma once

#include "tasks/task.h"
#include "train/training_step.h"

namespace espalier {

/// The first `count` pictures of a batch that lies on the CPU, with all that belongs to them.
Batch first_of(const Batch& batch, int count);

/// After a training step had no memory: which share of the batch has. Tries whole steps, at rate 0, on a
/// half, a quarter, ...; 0 if not even one picture fits. What the step moves beside parameters changes
/// (running statistics, the optimizer's state, averages): nothing may be saved after it.
int largest_batch_that_fits(TrainingStep& step, const Batch& batch, Device device);

}  // namespace espalier
