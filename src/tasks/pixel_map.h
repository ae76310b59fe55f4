#pragma once
// From the network's picture back to the file's.

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/label_map.h"
#include "tasks/annotation.h"

namespace espalier {

/// For every pixel of a row (or column) of the file, the pixel of the network's that its centre lies in;
/// the nearest one where the network did not see it.
inline std::vector<int> nearest_pixels(int file_extent, double scale, double offset, int network_extent) {
  std::vector<int> at(static_cast<size_t>(std::max(0, file_extent)));
  for (int i = 0; i < file_extent; ++i)
    at[i] = static_cast<int>(
        std::clamp(std::floor(scale * (i + 0.5) + offset), 0.0, static_cast<double>(network_extent - 1)));
  return at;
}

using kernels::BetweenPixels;

/// For every pixel of a row (or column) of the file, the two pixels of the network's that its centre lies
/// between; the outermost one where the network did not see it.
inline std::vector<BetweenPixels> pixels_between(int file_extent, double scale, double offset,
                                                 int network_extent) {
  std::vector<BetweenPixels> at(static_cast<size_t>(std::max(0, file_extent)));
  for (int i = 0; i < file_extent; ++i) {
    const double centre = std::clamp(scale * (i + 0.5) + offset - 0.5, 0.0, network_extent - 1.0);
    const int low = static_cast<int>(centre);
    at[i] = {low, std::min(low + 1, network_extent - 1), static_cast<float>(centre - low)};
  }
  return at;
}

/// A box of the network's picture in the pixels of the file; not clipped.
inline ObjectBox box_in_file(ObjectBox box, const PixelMap& map) {
  const auto back = [](float& low, float& high, double scale, double offset) {
    const double a = (low - offset) / scale, b = (high - offset) / scale;
    low = static_cast<float>(std::min(a, b));
    high = static_cast<float>(std::max(a, b));
  };
  back(box.x0, box.x1, map.scale_x, map.offset_x);
  back(box.y0, box.y1, map.scale_y, map.offset_y);
  return box;
}

}  // namespace espalier
