#include "io/image.h"

#include <stb_image.h>
#include <stb_image_write.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "io/file.h"
#include "io/image_header.h"

namespace espalier {

namespace {

/// The stored picture turned upright. Orientations as in EXIF 2.3, tag 274: out(x, y) is in(u, v).
Image upright(const Image& in, int orientation) {
  const bool turned = orientation >= 5;
  Image out = Image::unset(turned ? in.height : in.width, turned ? in.width : in.height);
  const int right = in.width - 1, bottom = in.height - 1;
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x) {
      int u = turned ? y : x, v = turned ? x : y;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) u = right - u;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) v = bottom - v;
      std::memcpy(out.at(x, y), in.at(u, v), Image::kChannels);
    }
  return out;
}

/// Grey, grey with alpha, RGB or RGBA to RGB; alpha is laid over white, rounded.
Image to_rgb(const uint8_t* pixels, int width, int height, int channels) {
  const size_t count = static_cast<size_t>(width) * height;
  Image image = Image::unset(width, height);
  if (channels == 3) {
    std::memcpy(image.pixels.data(), pixels, count * 3);
    return image;
  }
  const bool grey = channels <= 2, alpha = channels % 2 == 0;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* in = pixels + i * channels;
    for (int c = 0; c < 3; ++c) {
      const int value = in[grey ? 0 : c], a = alpha ? in[channels - 1] : 255;
      image.pixels[i * 3 + c] = static_cast<uint8_t>((value * a + 255 * (255 - a) + 127) / 255);
    }
  }
  return image;
}

}  // namespace

ImageInfo inspect_image(std::span<const std::byte> bytes, const std::string& name) {
  return read_image_header(bytes, name, Depth::kHeader);
}

Image decode_image(std::span<const std::byte> bytes, const std::string& name) {
  ESPALIER_CHECK(bytes.size() <= INT32_MAX, name, ": ", bytes.size(),
                 " bytes are too many for a picture; remove it");
  // The header alone first: what it refuses (too large) must not wait for the walk through the file.
  read_image_header(bytes, name, Depth::kHeader);
  const ImageInfo info = read_image_header(bytes, name, Depth::kWholeFile);
  int width = 0, height = 0, channels = 0;
  const std::unique_ptr<stbi_uc, decltype(&std::free)> pixels(
      stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()), static_cast<int>(bytes.size()),
                            &width, &height, &channels, 0),
      &std::free);
  ESPALIER_CHECK(pixels, name, ": the ", info.format, " file cannot be decoded (", stbi_failure_reason(),
                 "); it is corrupt or of a kind that is not read: fetch it again, convert or remove it");
  Image image = to_rgb(pixels.get(), width, height, channels);
  return info.orientation == 1 ? image : upright(image, info.orientation);
}

Image read_image(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  return decode_image(std::as_bytes(std::span(bytes)), path.string());
}

std::string encode_jpeg(const Image& image, int quality) {
  ESPALIER_CHECK(image.width > 0 && image.height > 0, "a picture of ", image.width, "x", image.height,
                 " cannot be written; it must have pixels");
  ESPALIER_CHECK(quality >= 1 && quality <= 100, "JPEG quality is ", quality, "; it must lie in 1 .. 100");
  std::string bytes;
  const auto append = [](void* to, void* data, int size) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(data), static_cast<size_t>(size));
  };
  const int ok = stbi_write_jpg_to_func(append, &bytes, image.width, image.height, Image::kChannels,
                                        image.pixels.data(), quality);
  ESPALIER_CHECK(ok != 0, "a picture of ", image.width, "x", image.height, " cannot be written as JPEG");
  return bytes;
}

void write_jpeg(const std::filesystem::path& path, const Image& image, int quality) {
  write_atomically(path, encode_jpeg(image, quality));
}

bool has_image_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png" || extension == ".bmp";
}

}  // namespace espalier
