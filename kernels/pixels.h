#pragma once

#include <cstdint>

#include "kernels/device.h"

namespace espalier::kernels {

/// What a network reads of a picture's bytes: x * scale[c] + shift[c], rounded once.
struct PixelScale {
  float scale[3] = {1, 1, 1}, shift[3] = {0, 0, 0};
};

/// y[i,c] = x[i,c] * scale[c] + shift[c] for so many pixels of three channels.
void scale_pixels(Device device, int64_t pixels, const uint8_t* x, const PixelScale& scale, float* y);

}  // namespace espalier::kernels
