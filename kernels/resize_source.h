#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/host_device.h"
#include "kernels/resize.h"

namespace espalier::kernels {

/// What one output position reads along an axis: `low` and `high` with weights 1 - f and f.
struct Source {
  int low, high;
  float f;
};

/// The source of output i, of `out` positions over `in` pixels.
ESPALIER_HD Source source(Sampling sampling, int i, int in, int out) {
  if (sampling == Sampling::kNearest) {
    const int at = static_cast<int>(int64_t{i} * in / out);
    return {at, at, 0.0f};
  }
  float at;
  if (sampling == Sampling::kAlignCorners)
    at = out > 1 ? static_cast<float>(i) * static_cast<float>(in - 1) / static_cast<float>(out - 1) : 0.0f;
  else
    at = (static_cast<float>(i) + 0.5f) * static_cast<float>(in) / static_cast<float>(out) - 0.5f;
  at = at < 0 ? 0.0f : at;
  int low = static_cast<int>(at);
  low = low < in - 1 ? low : in - 1;
  const int high = low + 1 < in ? low + 1 : low;
  return {low, high, at - static_cast<float>(low)};
}

/// The weight with which output i reads input `pixel`.
ESPALIER_HD float weight(const Source& s, int pixel) {
  return (s.low == pixel ? 1.0f - s.f : 0.0f) + (s.high == pixel ? s.f : 0.0f);
}

/// Outputs that may read `pixel` lie in [first, last): those whose source is less than one pixel away, with a
/// margin for rounding; the weights decide. The first and last pixel also serve what is clamped to them.
ESPALIER_HD void readers(Sampling sampling, int pixel, int in, int out, int* first, int* last) {
  const bool corners = sampling == Sampling::kAlignCorners && in > 1;
  const float scale = corners ? static_cast<float>(out - 1) / static_cast<float>(in - 1)
                              : static_cast<float>(out) / static_cast<float>(in);
  const float center = sampling == Sampling::kHalfPixel ? 0.5f : 0.0f;
  const int low = static_cast<int>((static_cast<float>(pixel - 1) + center) * scale - center) - 2;
  const int high = static_cast<int>((static_cast<float>(pixel + 1) + center) * scale - center) + 3;
  *first = pixel > 0 && low > 0 ? low : 0;
  *last = pixel < in - 1 && high < out ? high : out;
}

/// Four codes mixed, in three defined roundings: along the width, then along the height.
ESPALIER_HD float mix_codes(float a, float b, float d, float e, float along_width, float along_height) {
  const float top = fmaf(along_width, b - a, a), bottom = fmaf(along_width, e - d, d);
  return fmaf(along_height, bottom - top, top);
}

}  // namespace espalier::kernels
