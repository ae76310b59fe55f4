#pragma once
// Pictures on disk: JPEG (baseline and progressive), PNG and BMP in, always 8-bit RGB; PNG and JPEG out.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "io/pixel_memory.h"

namespace espalier {

/// 8-bit RGB, rows from the top, no padding between rows.
struct Image {
  static constexpr int kChannels = 3;

  int width = 0, height = 0;
  std::vector<uint8_t, PixelAllocator<uint8_t>> pixels;  ///< height * width * 3

  Image() = default;
  Image(int width, int height)  ///< black
      : width(width), height(height), pixels(static_cast<size_t>(width) * height * kChannels, uint8_t{0}) {}
  /// For who writes every pixel: they have no value yet.
  static Image unset(int width, int height) {
    Image image;
    image.width = width;
    image.height = height;
    image.pixels.resize(static_cast<size_t>(width) * height * kChannels);
    return image;
  }

  uint8_t* at(int x, int y) { return pixels.data() + (static_cast<size_t>(y) * width + x) * kChannels; }
  const uint8_t* at(int x, int y) const {
    return pixels.data() + (static_cast<size_t>(y) * width + x) * kChannels;
  }
  bool operator==(const Image&) const = default;
};

/// What the header says. Width and height are those of the upright picture, so of what read_image() returns.
struct ImageInfo {
  std::string format;  ///< "JPEG", "PNG", "BMP"
  int width = 0, height = 0;
  int orientation = 1;  ///< 1 .. 8, as EXIF counts; 1 when the file does not say
};

/// More pixels than this are refused from the header, before anything is decoded.
constexpr int64_t kMaxPixels = 100'000'000;

/// Reads and decodes a picture: grey becomes RGB, alpha is laid over white, 16 bits keep their upper 8, the
/// EXIF orientation of a JPEG is applied. Throws Error "PATH: what is; what to do" when the file is missing,
/// empty, truncated (which stb_image alone would not notice), corrupt, no picture, or too large.
Image read_image(const std::filesystem::path& path);

/// The same from memory; `name` stands in the messages.
Image decode_image(std::span<const std::byte> bytes, const std::string& name);

/// Looks at the header only. Throws Error as read_image() does, for what a header can show.
ImageInfo inspect_image(std::span<const std::byte> bytes, const std::string& name);

/// Replaces `path` atomically with an 8-bit RGB PNG. Throws Error when it cannot be written.
void write_png(const std::filesystem::path& path, const Image& image);

/// A baseline JPEG file, quality 1 .. 100 (4:2:0 up to 90, 4:4:4 above).
std::string encode_jpeg(const Image& image, int quality = 90);

/// Replaces `path` atomically with a baseline JPEG; quality 1 .. 100. Throws Error when it cannot be written.
void write_jpeg(const std::filesystem::path& path, const Image& image, int quality = 90);

/// True for .jpg, .jpeg, .png and .bmp in any case: what read_image() reads.
bool has_image_extension(const std::filesystem::path& path);

}  // namespace espalier
