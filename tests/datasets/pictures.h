#pragma once
// Small pictures and data sets for the tests of this folder.

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "io/file.h"
#include "io/image.h"
#include "support/messages.h"
#include "support/shared.h"

namespace espalier::test {

/// The same bytes as pattern() of golden/make_golden.py.
inline Image pattern(int width, int height, uint32_t seed, bool smooth) {
  Image image(width, height);
  uint32_t state = seed;
  for (uint32_t i = 0; i < image.pixels.size(); ++i) {
    state = (state * 1103515245u + 12345u) & 0x7FFFFFFFu;
    const uint32_t byte = state >> 16 & 255, w = static_cast<uint32_t>(width);
    image.pixels[i] =
        static_cast<uint8_t>(smooth ? i / 3 % w * 5 + i / (3 * w) * 3 + i % 3 * 70 + byte / 16 : byte);
  }
  return image;
}

inline Json read_golden(const std::string& name) {
  return Json::parse(read_file(source_path("tests/datasets/golden/" + name)));
}

inline std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

inline Image decode(const std::string& bytes, const std::string& name = "picture") {
  return decode_image(std::as_bytes(std::span(bytes)), name);
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

/// A flat picture; `shade` makes files differ.
inline void write_picture(const std::filesystem::path& path, int shade, int width = 20, int height = 16) {
  std::filesystem::create_directories(path.parent_path());
  Image image(width, height);
  for (size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] =
        static_cast<uint8_t>((shade * 37 + static_cast<int>(i) % 3 * 60 + static_cast<int>(i) / 60) % 256);
  write_text(path, encode_jpeg(image));
}

}  // namespace espalier::test

/// The call throws an Error whose message contains the text.
#define EXPECT_ERROR(call, text)                                                     \
  do {                                                                               \
    const std::string said = ::espalier::test::message_of([&] { (void)(call); });    \
    EXPECT_TRUE(::espalier::test::contains(said, text)) << "said: '" << said << "'"; \
  } while (false)
