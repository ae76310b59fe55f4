#pragma once
// What flows from data to tasks. The training loop, the sweep and calibration see data only through
// BatchSource.

#include <string>

#include "kernels/pixels.h"
#include "tasks/annotation.h"
#include "tensor/tensor.h"

namespace espalier {

/// One minibatch, ready for the network.
struct Batch {
  Tensor images;  ///< f32 [N,H,W,3], normalised; or u8, when a GPU is to do that (LoaderOptions::bytes)
  kernels::PixelScale pixel_scale;  ///< what normalises u8 images
  /// What the loss compares with, in the network's pixels:
  ///   classification {s32 [N]}: the label;
  ///   detection {f32 [N,M,6]}: centre x, centre y, width, height as shares of the network's picture, class,
  ///     score; M >= 1 is the most boxes of a picture of this batch, a row of width 0 is none; regions of
  ///     many (ObjectBox::crowd) are left out;
  ///   segmentation {s32 [N,H,W]}: the class of every pixel, 255 where it is ignored.
  Tensors targets;
  std::vector<std::string> names;       ///< per image: its path, for messages
  std::vector<int> samples;             ///< per image: its index in the data set
  std::vector<Annotation> annotations;  ///< per image, for metrics; empty for classification
  int size() const { return images.defined() ? images.shape()[0] : 0; }
};

/// The images as a network on the device reads them, f32 and normalised. Bytes cross to a GPU as bytes.
Tensor network_images(const Batch& batch, Device device);

/// Batches of one data set in a fixed or shuffled order. A pure function of (seed, epoch): neither threads
/// nor earlier epochs change what it gives.
struct BatchSource {
  virtual ~BatchSource() = default;
  /// Restarts at `first_batch` of `epoch`; evaluation sources give the same order for every epoch.
  virtual void start(int epoch = 0, int64_t first_batch = 0) = 0;
  /// False at the end of the epoch. The batch owns its memory.
  virtual bool next(Batch& batch) = 0;
  virtual int64_t batches() const = 0;  ///< an epoch
  virtual int64_t samples() const = 0;  ///< an epoch
  virtual uint64_t hash() const = 0;  ///< of the data set's list and the transforms, for resuming and lineage
};

}  // namespace espalier
