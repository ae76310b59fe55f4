#include "train/fitting_batch.h"

#include "base/error.h"
#include "kernels/autotuner.h"
#include "tensor/allocator.h"

namespace espalier {

namespace {

Tensor first_rows(const Tensor& t, int count) {
  Shape shape = t.shape();
  shape[0] = count;
  return Tensor::over(t.data(), {shape, t.dtype()}).clone();
}

/// Two steps, each with the next batch sent ahead: on a GPU the second is the first that is recorded.
bool fits(TrainingStep& step, const Batch& batch, Device device) {
  step.forget();
  allocator::release_cached(device);
  const Batch batches[] = {batch, first_of(batch, batch.size())};
  try {
    for (const int i : {0, 1})
      step.run(batches[i], 0, [&] {
        try {
          step.stage(batches[1 - i]);
        } catch (const OutOfMemory&) {  // a training sends it later
        }
      });
    return true;
  } catch (const OutOfMemory&) {
    return false;
  }
}

}  // namespace

Batch first_of(const Batch& batch, int count) {
  const auto cut = [&](auto list) {
    if (list.size() > static_cast<size_t>(count)) list.resize(static_cast<size_t>(count));
    return list;
  };
  Batch part{.images = first_rows(batch.images, count),
             .pixel_scale = batch.pixel_scale,
             .names = cut(batch.names),
             .samples = cut(batch.samples),
             .annotations = cut(batch.annotations)};
  for (const Tensor& target : batch.targets) part.targets.push_back(first_rows(target, count));
  return part;
}

int largest_batch_that_fits(TrainingStep& step, const Batch& batch, Device device) {
  const kernels::Untimed a_look_at_each_size;
  for (int count = batch.size() / 2; count > 0; count /= 2)
    if (fits(step, first_of(batch, count), device)) return count;
  return 0;
}

}  // namespace espalier
