#include "io/image_header.h"

#include <zlib.h>

#include <cstring>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace espalier {

namespace {

/// Bounds-checked reading of integers; reading beyond the end is the file's fault.
struct Reader {
  const uint8_t* data;
  size_t size;
  const std::string& name;
  const char* format;

  [[noreturn]] void truncated() const {
    fail(str(name, ": the ", format, " file is cut off after ", size, " bytes; fetch it again or remove it"));
  }
  [[noreturn]] void corrupt(const std::string& what) const {
    fail(str(name, ": the ", format, " file is corrupt (", what, "); fetch it again or remove it"));
  }
  void need(size_t at, size_t bytes) const {
    if (at > size || bytes > size - at) truncated();
  }
  uint8_t u8(size_t at) const { return need(at, 1), data[at]; }
  uint32_t big16(size_t at) const { return need(at, 2), data[at] << 8 | data[at + 1]; }
  uint32_t big32(size_t at) const { return big16(at) << 16 | big16(at + 2); }
  uint32_t little16(size_t at) const { return need(at, 2), data[at] | data[at + 1] << 8; }
  uint32_t little32(size_t at) const { return little16(at) | little16(at + 2) << 16; }
};

/// The orientation of a TIFF block (what EXIF is); 1 when it has none or makes no sense, as viewers do.
int tiff_orientation(const uint8_t* data, size_t size) {
  if (size < 8) return 1;
  const bool little = data[0] == 'I';
  const auto u16 = [&](size_t at) -> uint32_t {
    if (at + 2 > size) return 0;
    return little ? data[at] | data[at + 1] << 8 : data[at] << 8 | data[at + 1];
  };
  const auto u32 = [&](size_t at) -> uint32_t {
    return little ? u16(at) | u16(at + 2) << 16 : u16(at) << 16 | u16(at + 2);
  };
  const size_t directory = u32(4), entries = u16(directory);
  for (size_t i = 0; i < entries; ++i) {
    const size_t at = directory + 2 + 12 * i;
    constexpr uint32_t kOrientation = 0x0112, kShort = 3;
    if (at + 12 > size) break;
    if (u16(at) != kOrientation || u16(at + 2) != kShort) continue;
    const uint32_t value = u16(at + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

/// Huffman tables of a JPEG (ITU T.81, B.2.4.2). stb_image trusts their counts and would write past its
/// tables.
void check_huffman_tables(const Reader& in, const uint8_t* body, size_t size) {
  constexpr size_t kCounts = 16, kMostSymbols = 256;
  for (size_t at = 0; at < size;) {
    size_t symbols = 0;
    if (size - at < 1 + kCounts) in.corrupt("a Huffman table too short");
    for (size_t i = 1; i <= kCounts; ++i) symbols += body[at + i];
    at += 1 + kCounts;
    if (symbols > kMostSymbols || symbols > size - at) in.corrupt("a Huffman table with too many symbols");
    at += symbols;
  }
}

/// ITU T.81, annex B: marker segments up to the end of the image.
ImageInfo read_jpeg(const Reader& in, Depth depth) {
  ImageInfo info{.format = "JPEG"};
  bool adobe = false, frame = false;
  int components = 0;
  for (size_t at = 2;;) {
    // Fill bytes are allowed before a marker; stray bytes are not, but decoders pass over them.
    while (in.u8(at) != 0xFF) ++at;
    while (in.u8(at) == 0xFF) ++at;
    const uint8_t marker = in.u8(at++);
    if (marker == 0xD9) break;
    if (marker == 0x00 || marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) continue;
    const size_t length = in.big16(at);
    if (length < 2) in.corrupt("a segment of length below 2");
    in.need(at, length);
    const uint8_t* body = in.data + at + 2;
    const size_t body_size = length - 2;
    if (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) {
      ESPALIER_CHECK(marker <= 0xC2, in.name, ": this JPEG uses ",
                     marker >= 0xC9 ? "arithmetic coding" : "lossless or hierarchical coding",
                     ", which is not read; convert it to an ordinary JPEG or to PNG");
      if (body_size < 6) in.corrupt("frame header too short");
      ESPALIER_CHECK(body[0] == 8, in.name, ": this JPEG has ", int{body[0]},
                     " bits a sample, only 8 are read; convert it to an ordinary JPEG or to PNG");
      info.height = body[1] << 8 | body[2];
      info.width = body[3] << 8 | body[4];
      components = body[5];
      frame = true;
      if (depth == Depth::kHeader) break;
    } else if (marker == 0xC4) {
      check_huffman_tables(in, body, body_size);
    } else if (marker == 0xE1 && body_size > 6 && std::memcmp(body, "Exif\0\0", 6) == 0) {
      info.orientation = tiff_orientation(body + 6, body_size - 6);
    } else if (marker == 0xEE && body_size >= 12 && std::memcmp(body, "Adobe", 5) == 0) {
      adobe = true;
    }
    at += length;
    if (marker != 0xDA) continue;
    if (!frame) in.corrupt("image data before the frame header");
    // Entropy-coded data: in it, FF 00 is a byte FF and FF D0 .. D7 are restart marks.
    for (;;) {
      const void* next = at < in.size ? std::memchr(in.data + at, 0xFF, in.size - at) : nullptr;
      if (!next) in.truncated();
      at = static_cast<size_t>(static_cast<const uint8_t*>(next) - in.data);
      const uint8_t after = in.u8(at + 1);
      if (after != 0x00 && after != 0xFF && !(after >= 0xD0 && after <= 0xD7)) break;
      at += after == 0xFF ? 1 : 2;
    }
  }
  if (!frame) in.corrupt("no frame header");
  // Each block of 8 x 8 pixels takes a bit at least; decoders make up what is missing, a gigabyte of it if
  // asked.
  constexpr size_t kMostPixelsAByte = 8 * 8 * 8;
  if (depth == Depth::kWholeFile && size_t(info.width) * info.height / kMostPixelsAByte > in.size)
    in.corrupt(
        str("its header says ", info.width, "x", info.height, " pixels, too many for ", in.size, " bytes"));
  ESPALIER_CHECK(components != 4 || adobe || depth == Depth::kHeader, in.name,
                 ": a CMYK JPEG without Adobe's mark, whose colours are ambiguous; convert it to RGB");
  return info;
}

/// PNG specification (W3C, third edition), section 5: signature, then chunks with checksums.
ImageInfo read_png(const Reader& in, Depth depth) {
  ImageInfo info{.format = "PNG"};
  for (size_t at = 8;;) {
    const size_t length = in.big32(at);
    in.need(at + 4, 4);
    const std::string_view type(reinterpret_cast<const char*>(in.data) + at + 4, 4);
    if (at == 8) {
      if (type != "IHDR" || length < 13) in.corrupt("no header chunk");
      info.width = static_cast<int>(std::min<uint32_t>(in.big32(16), INT32_MAX));
      info.height = static_cast<int>(std::min<uint32_t>(in.big32(20), INT32_MAX));
    }
    in.need(at + 8, length + 4);
    if (depth == Depth::kWholeFile &&
        crc32(0, in.data + at + 4, static_cast<uInt>(length + 4)) != in.big32(at + 8 + length))
      in.corrupt(str("checksum of chunk '", type, "' does not hold"));
    if (type == "eXIf") info.orientation = tiff_orientation(in.data + at + 8, length);
    if (type == "IEND") break;
    at += length + 12;
  }
  return info;
}

ImageInfo read_bmp(const Reader& in, Depth depth) {
  ImageInfo info{.format = "BMP"};
  const uint32_t pixels_at = in.little32(10), header = in.little32(14);
  uint32_t bits;
  int64_t width, height;
  if (header == 12) {
    width = in.little16(18), height = in.little16(20), bits = in.little16(24);
  } else {
    width = static_cast<int32_t>(in.little32(18)), height = static_cast<int32_t>(in.little32(22));
    bits = in.little16(28);
    const uint32_t compression = in.little32(30);
    ESPALIER_CHECK(compression == 0 || compression == 3, in.name, ": a compressed BMP (method ", compression,
                   "), which is not read; convert it to PNG");
  }
  height = height < 0 ? -height : height;  // negative: the first row is the top one
  if (width < 0 || width > INT32_MAX || height > INT32_MAX) in.corrupt("width or height out of range");
  info.width = static_cast<int>(width);
  info.height = static_cast<int>(height);
  if (depth == Depth::kWholeFile && width * height <= kMaxPixels)
    in.need(pixels_at, static_cast<size_t>((width * bits + 31) / 32 * 4 * height));
  return info;
}

bool has(std::string_view text, std::string_view word, size_t at) {
  return text.size() >= at && text.substr(at, word.size()) == word;
}
bool starts(std::string_view text, std::string_view with) { return has(text, with, 0); }

/// What a file is that we do not read, for the message; empty if it is not known either.
std::string foreign_format(std::string_view text) {
  using namespace std::string_view_literals;
  if (starts(text, "GIF8")) return "a GIF";
  if (starts(text, "RIFF") && has(text, "WEBP", 8)) return "a WebP picture";
  if (starts(text, "II*\0"sv) || starts(text, "MM\0*"sv)) return "a TIFF picture";
  if (has(text, "ftyp", 4)) return "a HEIF, AVIF or video file";
  if (starts(text, "8BPS")) return "a Photoshop file";
  if (starts(text, "%PDF")) return "a PDF file";
  if (starts(text, "PK\3\4")) return "a ZIP archive";
  if (starts(text, "<svg") || starts(text, "<?xml")) return "an SVG or XML file";
  if (starts(text, "<!DOCTYPE") || starts(text, "<!doctype") || starts(text, "<html"))
    return "a web page (a failed download?)";
  if (starts(text, "version https://git-lfs")) return "a Git LFS pointer (run git lfs pull)";
  return "";
}

std::string quoted_beginning(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 8)) out += c >= 32 && c < 127 ? c : '?';
  return "'" + out + "'";
}

}  // namespace

ImageInfo read_image_header(std::span<const std::byte> bytes, const std::string& name, Depth depth) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  ESPALIER_CHECK(!text.empty(), name, ": the file is empty; fetch it again or remove it");
  const auto reader = [&](const char* format) {
    return Reader{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), name, format};
  };
  ImageInfo info;
  if (starts(text, "\xFF\xD8"))
    info = read_jpeg(reader("JPEG"), depth);
  else if (starts(text, "\x89PNG\r\n\x1A\n"))
    info = read_png(reader("PNG"), depth);
  else if (starts(text, "BM"))
    info = read_bmp(reader("BMP"), depth);
  else if (const std::string what = foreign_format(text); !what.empty())
    fail(str(name, ": is ", what, "; JPEG, PNG and BMP are read: convert or remove it"));
  else
    fail(str(name, ": is no JPEG, PNG or BMP picture (it begins with ", quoted_beginning(text),
             "); convert or remove it"));
  ESPALIER_CHECK(info.width > 0 && info.height > 0, name, ": the header says ", info.width, "x", info.height,
                 " pixels; the file is corrupt: fetch it again or remove it");
  ESPALIER_CHECK(int64_t{info.width} * info.height <= kMaxPixels, name, ": the header says ", info.width, "x",
                 info.height, " pixels, more than ", kMaxPixels / 1'000'000,
                 " million; make the picture smaller or remove it");
  if (info.orientation >= 5) std::swap(info.width, info.height);
  return info;
}

}  // namespace espalier
