#include "tasks/tiles.h"

#include <algorithm>
#include <cassert>
#include <vector>

#include "base/error.h"

namespace espalier {

namespace {

/// For `count` places from `first` on, which pixel of a row of `extent` they show; mirrored without repeating
/// the outermost.
std::vector<int> mirrored(int first, int count, int extent) {
  const int period = std::max(1, 2 * (extent - 1));
  std::vector<int> at;
  for (int i = first; i < first + count; ++i) {
    const int turn = ((i % period) + period) % period;
    at.push_back(turn < extent ? turn : period - turn);
  }
  return at;
}

}  // namespace

Mask predict_tiled(const Image& image, const TileOptions& o,
                   const std::function<Mask(const Image& window)>& predict) {
  ESPALIER_CHECK(o.tile >= 1 && o.pad >= 0, "tiles: a tile of ", o.tile, " pixels with ", o.pad,
                 " around it is impossible; say at least 1 and 0");
  Mask whole{image.width, image.height, {}};
  whole.classes.resize(static_cast<size_t>(image.width) * image.height);
  const int side = o.tile + 2 * o.pad;
  Image window(side, side);
  for (int top = 0; top < image.height; top += o.tile)
    for (int left = 0; left < image.width; left += o.tile) {
      const std::vector<int> columns = mirrored(left - o.pad, side, image.width),
                             rows = mirrored(top - o.pad, side, image.height);
      for (int y = 0; y < side; ++y)
        for (int x = 0; x < side; ++x)
          std::copy_n(image.at(columns[x], rows[y]), Image::kChannels, window.at(x, y));
      const Mask mask = predict(window);
      assert(mask.width == side && mask.height == side);
      const int width = std::min(o.tile, image.width - left), height = std::min(o.tile, image.height - top);
      for (int y = 0; y < height; ++y)
        std::copy_n(mask.classes.begin() + static_cast<int64_t>(y + o.pad) * side + o.pad, width,
                    whole.classes.begin() + static_cast<int64_t>(top + y) * image.width + left);
    }
  return whole;
}

}  // namespace espalier
