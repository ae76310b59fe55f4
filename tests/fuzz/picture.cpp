// Pictures and masks. The checksums of a PNG are put right first, since nothing else would be read.

#include <zlib.h>

#include <span>

#include "base/error.h"
#include "fuzz/target.h"
#include "io/file.h"
#include "io/image.h"
#include "io/index_png.h"
#include "support/temporary_directory.h"

namespace espalier::test {

namespace {

std::filesystem::path file() {
  static const TemporaryDirectory folder;
  return folder.path() / "picture";
}

uint32_t number_at(const std::string& bytes, size_t at) {
  uint32_t number = 0;
  for (size_t i = 0; i < 4; ++i) number = number << 8 | static_cast<uint8_t>(bytes[at + i]);
  return number;
}

void mend_checksums(std::string& png) {
  constexpr size_t kSignature = 8, kAround = 12;  // bytes of a chunk that its length does not count
  if (!png.starts_with("\x89PNG\r\n\x1A\n")) return;
  for (size_t at = kSignature; at + kAround <= png.size();) {
    const size_t length = number_at(png, at);
    if (length > png.size() - at - kAround) return;
    const auto* chunk = reinterpret_cast<const Bytef*>(png.data()) + at + 4;
    const uLong sum = crc32(0, chunk, static_cast<uInt>(length + 4));
    for (size_t i = 0; i < 4; ++i) png[at + 8 + length + i] = static_cast<char>(sum >> (24 - 8 * i));
    at += length + kAround;
  }
}

Image colours() {
  Image image = Image::unset(17, 13);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 37);
  return image;
}

std::string mask() {
  IndexImage image{9, 7, std::vector<uint16_t>(9 * 7)};
  for (size_t i = 0; i < image.values.size(); ++i) image.values[i] = i % 3;
  write_index_png(file(), image, Palette(3));
  return read_file(file());
}

/// 5 x 2 pixels of 24 bits.
std::string bmp() {
  std::string bytes("BM\x56\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\5\0\0\0\2\0\0\0\1\0\x18\0", 30);
  bytes.resize(54, '\0');
  return bytes + std::string(32, '\x40');
}

}  // namespace

std::vector<std::string> seeds() {
  std::string jpeg = encode_jpeg(colours(), 60);
  const std::string turned(
      "\xFF\xE1\0\x22"
      "Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0",
      36);
  return {jpeg, jpeg.substr(0, 2) + turned + jpeg.substr(2), mask(), bmp()};
}

void read(const std::string& input) {
  std::string bytes = input;
  mend_checksums(bytes);
  try {
    decode_image(std::as_bytes(std::span(bytes)), "picture");
  } catch (const Error&) {
  }
  put(file(), bytes);
  try {
    read_index_png(file());
  } catch (const Error&) {
  }
}

}  // namespace espalier::test
