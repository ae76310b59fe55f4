#include <png.h>

#include <array>

#include "base/error.h"
#include "io/file.h"
#include "io/image.h"

namespace espalier {

void write_png(const std::filesystem::path& path, const Image& image) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = PNG_FORMAT_RGB;
  // libpng's own bound on the size; a second pass that only counts would compress everything twice.
  std::string bytes(PNG_IMAGE_PNG_SIZE_MAX(png), '\0');
  png_alloc_size_t size = bytes.size();
  const int ok = png_image_write_to_memory(&png, bytes.data(), &size, 0, image.pixels.data(), 0, nullptr);
  ESPALIER_CHECK(ok != 0, path.string(), ": a picture of ", image.width, "x", image.height,
                 " cannot be written as PNG (", png.message, ")");
  bytes.resize(size);
  write_atomically(path, bytes);
}

}  // namespace espalier
