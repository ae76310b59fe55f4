#include "io/index_png.h"

#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <span>

#include "base/error.h"
#include "io/file.h"
#include "io/image_header.h"

namespace espalier {

namespace {

struct Failure {
  char message[128] = "";
};

[[noreturn]] void fail_over(png_structp png, png_const_charp message) {
  std::strncpy(static_cast<Failure*>(png_get_error_ptr(png))->message, message, sizeof Failure::message - 1);
  png_longjmp(png, 1);
}
void pass_over(png_structp, png_const_charp) {}

/// Runs C calls that may jump out of libpng; false if one did. What they touch lives outside of them, so no
/// destructor is jumped over.
template <class Calls>
bool succeeds(png_structp png, const Calls& calls) {
  if (setjmp(png_jmpbuf(png))) return false;
  calls();
  return true;
}

struct ReadHandle {
  Failure failure;
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &failure, fail_over, pass_over);
  png_infop info = png_create_info_struct(png);
  ~ReadHandle() { png_destroy_read_struct(&png, &info, nullptr); }
};

struct WriteHandle {
  Failure failure;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &failure, fail_over, pass_over);
  png_infop info = png_create_info_struct(png);
  ~WriteHandle() { png_destroy_write_struct(&png, &info); }
};

struct Source {
  const char* at;
  size_t left;
};

void read_from_source(png_structp png, png_bytep to, size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->left) png_error(png, "cut off");
  std::memcpy(to, source->at, count);
  source->at += count;
  source->left -= count;
}

void append_to_string(png_structp png, png_bytep from, size_t count) {
  static_cast<std::string*>(png_get_io_ptr(png))->append(reinterpret_cast<const char*>(from), count);
}

const char* kind_of(int color) {
  if (!(color & PNG_COLOR_MASK_ALPHA)) return "an RGB picture";
  return color & PNG_COLOR_MASK_COLOR ? "an RGBA picture" : "a grey picture with alpha";
}

IndexImage decode(const std::string& bytes, const std::string& name) {
  ReadHandle handle;
  const auto check = [&](bool good) {
    ESPALIER_CHECK(good, name, ": the PNG file cannot be decoded (", handle.failure.message,
                   "); it is corrupt: fetch it again or remove it");
  };
  Source source{bytes.data(), bytes.size()};
  png_set_read_fn(handle.png, &source, read_from_source);
  check(succeeds(handle.png, [&] { png_read_info(handle.png, handle.info); }));
  const int color = png_get_color_type(handle.png, handle.info);
  ESPALIER_CHECK(
      color == PNG_COLOR_TYPE_PALETTE || color == PNG_COLOR_TYPE_GRAY, name, ": is ", kind_of(color),
      ", whose pixels are no class numbers; save it as a palette or grey PNG with the classes as values");
  const int depth = png_get_bit_depth(handle.png, handle.info);
  check(succeeds(handle.png, [&] {
    if (depth < 8) png_set_packing(handle.png);
    if (depth == 16) png_set_swap(handle.png);
    png_set_interlace_handling(handle.png);
    png_read_update_info(handle.png, handle.info);
  }));
  IndexImage image;
  image.width = static_cast<int>(png_get_image_width(handle.png, handle.info));
  image.height = static_cast<int>(png_get_image_height(handle.png, handle.info));
  const size_t row_bytes = png_get_rowbytes(handle.png, handle.info);
  std::vector<uint8_t> pixels(row_bytes * image.height);
  std::vector<png_bytep> rows(image.height);
  for (int y = 0; y < image.height; ++y) rows[y] = pixels.data() + y * row_bytes;
  check(succeeds(handle.png, [&] { png_read_image(handle.png, rows.data()); }));
  image.values.resize(static_cast<size_t>(image.width) * image.height);
  if (depth == 16)
    std::memcpy(image.values.data(), pixels.data(), image.values.size() * sizeof(uint16_t));
  else
    std::copy(pixels.begin(), pixels.end(), image.values.begin());
  return image;
}

}  // namespace

IndexImage read_index_png(const std::filesystem::path& path) {
  const std::string bytes = read_file(path), name = path.string();
  const auto span = std::as_bytes(std::span(bytes));
  read_image_header(span, name, Depth::kHeader);
  const ImageInfo info = read_image_header(span, name, Depth::kWholeFile);
  ESPALIER_CHECK(info.format == "PNG", name, ": is a ", info.format,
                 " picture; class numbers are read from PNG: save it as a palette or grey PNG");
  return decode(bytes, name);
}

Palette voc_palette() {
  Palette palette(256);
  for (int i = 0; i < 256; ++i)
    for (int bit = 0; bit < 8; ++bit)
      for (int c = 0; c < 3; ++c)
        palette[i][c] |= static_cast<uint8_t>((i >> (3 * bit + c) & 1) << (7 - bit));
  return palette;
}

void write_index_png(const std::filesystem::path& path, const IndexImage& image, const Palette& palette) {
  ESPALIER_CHECK(image.width > 0 && image.height > 0, path.string(), ": a picture of ", image.width, "x",
                 image.height, " cannot be written; it must have pixels");
  ESPALIER_CHECK(!palette.empty() && palette.size() <= 256, path.string(), ": a palette of ", palette.size(),
                 " colours; 1 .. 256 are needed");
  std::vector<uint8_t> pixels(image.values.size());
  for (size_t i = 0; i < pixels.size(); ++i) {
    ESPALIER_CHECK(image.values[i] < palette.size(), path.string(), ": the value ", image.values[i],
                   " has no colour in a palette of ", palette.size(), "; give it one");
    pixels[i] = static_cast<uint8_t>(image.values[i]);
  }
  std::vector<png_color> colors;
  for (const auto& color : palette) colors.push_back({color[0], color[1], color[2]});
  std::string bytes;
  WriteHandle handle;
  const bool good = succeeds(handle.png, [&] {
    png_set_write_fn(handle.png, &bytes, append_to_string, nullptr);
    png_set_IHDR(handle.png, handle.info, static_cast<png_uint_32>(image.width),
                 static_cast<png_uint_32>(image.height), 8, PNG_COLOR_TYPE_PALETTE, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_PLTE(handle.png, handle.info, colors.data(), static_cast<int>(colors.size()));
    png_write_info(handle.png, handle.info);
    for (int y = 0; y < image.height; ++y)
      png_write_row(handle.png, pixels.data() + static_cast<size_t>(y) * image.width);
    png_write_end(handle.png, handle.info);
  });
  ESPALIER_CHECK(good, path.string(), ": cannot be written (", handle.failure.message, ")");
  write_atomically(path, bytes);
}

}  // namespace espalier
