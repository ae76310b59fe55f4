#pragma once
// Pictures from disk to batches: decoding and augmenting run ahead of the consumer on a bounded number of
// threads.

#include <memory>

#include "datasets/dataset.h"
#include "datasets/transforms.h"
#include "tasks/batch.h"

namespace espalier {

struct LoaderOptions {
  int batch = 32;
  bool shuffle = false;    ///< a new order every epoch, a function of (seed, epoch)
  bool drop_last = false;  ///< leave out the last, smaller batch
  uint64_t seed = 1;       ///< of the order and of the augmentation
  int threads = 0;         ///< that decode and augment; 0: all cores
  int prefetch = 3;        ///< batches made ahead of the consumer; more if threads would have nothing to do
  int64_t cache_bytes =
      0;                  ///< keep pictures decoded (and through the leading transforms that are not random)
  bool annotate = false;  ///< fill Batch::annotations, for metrics; not for classification
  bool bytes = false;     ///< give u8 images with their Batch::pixel_scale: a quarter to send to a GPU
};

/// Shuffled, last batch dropped / in order, last batch kept, annotated.
LoaderOptions train_loader_options(int batch, uint64_t seed, int64_t cache_bytes = 0);
LoaderOptions eval_loader_options(int batch, int64_t cache_bytes = 0);

/// How many batches an epoch has of so many pictures. Throws Error, beginning with `name`, for none.
int64_t batch_count(const std::string& name, int64_t pictures, const LoaderOptions& options);

/// What a loader gives depends on data, pipeline, seed, epoch and batch size, never on threads, prefetch or
/// cache. start(epoch, first_batch) enters an epoch anywhere. A picture that cannot be read is an Error from
/// next(), for the batch it belongs to. Targets are those of the data set's task (tasks/batch.h). Throws
/// Error when the pipeline's size depends on the picture, or no batch can be filled.
std::unique_ptr<BatchSource> make_loader(Dataset data, Pipeline pipeline, const LoaderOptions& options);

}  // namespace espalier
