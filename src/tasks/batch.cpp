#include "tasks/batch.h"

namespace espalier {

Tensor network_images(const Batch& batch, Device device) {
  Tensor there = batch.images.to(device);
  if (there.dtype() == DType::kF32) return there;
  Tensor scaled(there.shape(), device);
  kernels::scale_pixels(device, there.elements() / 3, there.u8(), batch.pixel_scale, scaled.f32());
  return scaled;
}

}  // namespace espalier
