#pragma once
// PNG files whose pixels are numbers and not colours: label images. The number is what the file stores, so a
// palette only says how the picture looks.

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace espalier {

/// A number per pixel, rows from the top.
struct IndexImage {
  int width = 0, height = 0;
  std::vector<uint16_t> values;  ///< width * height

  uint16_t at(int x, int y) const { return values[static_cast<size_t>(y) * width + x]; }
  bool operator==(const IndexImage&) const = default;
};

/// Reads a palette (1 .. 8 bits), grey (1 .. 8 bits) or 16-bit grey PNG; transparency is passed over. Throws
/// Error "PATH: what is; what to do" for a missing, truncated or corrupt file, one that is no PNG, one of
/// more than kMaxPixels (io/image.h), and one with colours or an alpha channel, in which no index can be
/// told.
IndexImage read_index_png(const std::filesystem::path& path);

using Palette = std::vector<std::array<uint8_t, 3>>;

/// The colours that VOC's label images have: distinct for neighbouring numbers, 0 is black.
Palette voc_palette();

/// Replaces `path` atomically with a palette PNG of 8 bits. Throws Error when a value has no colour or the
/// file cannot be written.
void write_index_png(const std::filesystem::path& path, const IndexImage& image, const Palette& palette);

}  // namespace espalier
