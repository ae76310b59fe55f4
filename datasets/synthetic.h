#pragma once
// Pictures drawn by the program, for trying the whole flow without a download: vegetables of up to 15 kinds,
// with varied shape, texture, colour, pose, light, background and occlusion, and kinds that overlap in colour
// and shape. They are written in the ordinary layouts, and the ordinary reader reads them.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/image.h"

namespace espalier {

struct SyntheticOptions {
  int classes = 6;                      ///< 2 .. 15
  int train = 60, val = 20, test = 20;  ///< pictures a class
  int size = 96;                        ///< pixels a side, 16 .. 4096
  uint64_t seed = 1;
  std::string layout = "image_list";  ///< "image_list" or "image_folder"
  int quality = 90;                   ///< of the JPEG files
};

/// Draws the data set into `folder`, which must not exist or be empty. One that is complete with the same
/// options is left as it is, one that was broken off is finished. The same options give the same bytes, on
/// any number of threads. Throws Error for options out of range, a folder with other things in it, or one
/// that cannot be written.
void make_vegetables(const std::filesystem::path& folder, const SyntheticOptions& options);

/// True when there is nothing in the folder yet, or a drawing that was broken off: make_vegetables() has work
/// to do.
bool must_draw(const std::filesystem::path& folder);

/// One picture, as make_vegetables() draws it.
Image draw_vegetable(int kind, int size, uint64_t seed, uint64_t index);

/// "carrot", ...: the names of the kinds, 15 of them.
const std::vector<std::string>& vegetable_names();

}  // namespace espalier
