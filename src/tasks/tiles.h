#pragma once
// Pictures that are too large for the network, piece by piece.

#include <functional>

#include "io/image.h"
#include "tasks/annotation.h"

namespace espalier {

struct TileOptions {
  int tile = 512;  ///< side of the squares that the result is put together from, in pixels of the picture
  int pad =
      64;  ///< seen around each of them, so that what lies at its border is judged with its surroundings
};

/// Predicts every window of tile + 2 pad pixels and keeps its middle. Beyond the picture the windows show its
/// mirror image. `predict` gives a mask as large as the window. Throws Error for a tile below 1 or a negative
/// pad.
Mask predict_tiled(const Image& image, const TileOptions& options,
                   const std::function<Mask(const Image& window)>& predict);

}  // namespace espalier
