#include "io/image.h"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <zlib.h>

#include <cmath>

#include "datasets/pictures.h"
#include "support/shared.h"
#include "support/temporary_directory.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

std::string golden_file(const std::string& name) {
  static const Json golden = test::read_golden("files.json");
  for (const Json& c : golden["cases"])
    if (c["name"] == name) return test::from_hex(c["file"]);
  ADD_FAILURE() << "no golden file " << name;
  return "";
}

TEST(Image, ReadsEveryKindAsPillowDoes) {
  const Json golden = test::read_golden("files.json");
  int cases = 0;
  for (const Json& c : golden["cases"]) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const std::string file = test::from_hex(c["file"]), want = test::from_hex(c["pixels"]);
    const Image got = test::decode(file);
    ASSERT_EQ(got.width, c["width"].get<int>());
    ASSERT_EQ(got.height, c["height"].get<int>());
    ASSERT_EQ(got.pixels.size(), want.size());
    int worst = 0;
    for (size_t i = 0; i < want.size(); ++i)
      worst = std::max(worst, std::abs(got.pixels[i] - static_cast<uint8_t>(want[i])));
    EXPECT_LE(worst, c["tolerance"].get<int>());
    const ImageInfo info = inspect_image(std::as_bytes(std::span(file)), "x");
    EXPECT_EQ(info.width, got.width);
    EXPECT_EQ(info.height, got.height);
    ++cases;
  }
  EXPECT_EQ(cases, 28);
}

TEST(Image, EveryTruncationIsRefused) {
  for (const char* name : {"jpeg", "jpeg progressive", "png", "png palette", "bmp", "bmp palette"}) {
    const std::string file = golden_file(name);
    ASSERT_NO_THROW(test::decode(file)) << name;
    // A BMP may be padded at its end; anything else must be there to the last byte.
    for (size_t length = 0; length < file.size(); ++length)
      ASSERT_THROW(test::decode(file.substr(0, length)), Error) << name << " cut to " << length;
    EXPECT_ERROR(test::decode(file.substr(0, file.size() - 2), "a/b.jpg"), "a/b.jpg: the ");
    EXPECT_ERROR(test::decode(file.substr(0, file.size() - 2)), "is cut off after");
  }
}

TEST(Image, BytesAfterTheEndAreAllowed) {
  for (const char* name : {"jpeg", "png", "bmp"})
    EXPECT_EQ(test::decode(golden_file(name) + std::string(100, 'x')), test::decode(golden_file(name)));
}

TEST(Image, EveryChangedByteOfAPngIsNoticed) {
  const std::string file = golden_file("png");
  for (size_t at = 0; at < file.size(); ++at) {
    std::string changed = file;
    changed[at] = static_cast<char>(changed[at] ^ 0x10);
    ASSERT_THROW(test::decode(changed), Error) << "byte " << at;
  }
}

TEST(Image, NoChangedByteOfAJpegDoesHarm) {
  // The format has no checksum: a change is either noticed or gives other pixels of the same picture.
  for (const char* name : {"jpeg", "jpeg progressive"}) {
    const std::string file = golden_file(name);
    for (size_t at = 2; at < file.size(); ++at)
      for (const int flip : {0x01, 0x80, 0xFF}) {
        std::string changed = file;
        changed[at] = static_cast<char>(changed[at] ^ flip);
        try {
          const Image image = test::decode(changed);
          ASSERT_EQ(image.pixels.size(), static_cast<size_t>(image.width) * image.height * 3);
        } catch (const Error&) {
        }
      }
  }
}

TEST(Image, SaysWhatAFileIs) {
  EXPECT_ERROR(test::decode("", "a.jpg"), "a.jpg: the file is empty");
  EXPECT_ERROR(test::decode("hello world", "a.jpg"),
               "is no JPEG, PNG or BMP picture (it begins with 'hello wo')");
  EXPECT_ERROR(test::decode("GIF89a....", "a.jpg"), "is a GIF");
  EXPECT_ERROR(test::decode("RIFF....WEBPVP8 ", "a.jpg"), "is a WebP picture");
  EXPECT_ERROR(test::decode("<!DOCTYPE html>", "a.jpg"), "a web page");
  EXPECT_ERROR(test::decode("version https://git-lfs.github.com/spec/v1", "a.jpg"), "git lfs pull");
  EXPECT_ERROR(test::decode("\xFF\xD8", "a.jpg"), "is cut off");
  EXPECT_ERROR(test::decode("\xFF\xD8\xFF\xD9", "a.jpg"), "no frame header");
}

TEST(Image, KindsOfJpegThatAreNotReadAreNamed) {
  std::string file = golden_file("jpeg");
  const size_t frame = file.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  const auto with = [&](size_t at, int value) {
    std::string changed = file;
    changed[frame + at] = static_cast<char>(value);
    return changed;
  };
  EXPECT_ERROR(test::decode(with(1, 0xC9)), "arithmetic coding");
  EXPECT_ERROR(test::decode(with(1, 0xC3)), "lossless");
  EXPECT_ERROR(test::decode(with(4, 12)), "12 bits a sample");
  // Adobe's mark says how the four inks are stored; without it the colours are a guess.
  std::string cmyk = golden_file("jpeg cmyk");
  const size_t adobe = cmyk.find("Adobe");
  ASSERT_NE(adobe, std::string::npos);
  cmyk[adobe] = 'B';
  EXPECT_ERROR(test::decode(cmyk), "CMYK JPEG without Adobe's mark");
}

TEST(Image, AHuffmanTableWithTooManySymbolsIsRefused) {
  for (const char* name : {"jpeg", "jpeg progressive"}) {
    std::string file = golden_file(name);
    const size_t table = file.find("\xFF\xC4");
    ASSERT_NE(table, std::string::npos);
    file[table + 5 + 15] = static_cast<char>(0xFF);  // codes of 16 bits
    file[table + 5 + 14] = static_cast<char>(0xFF);
    EXPECT_ERROR(test::decode(file), "a Huffman table with too many symbols");
  }
}

TEST(Image, AbsurdSizesAreRefusedFromTheHeader) {
  std::string jpeg = golden_file("jpeg");
  const size_t frame = jpeg.find("\xFF\xC0");
  for (const int i : {5, 6, 7, 8}) jpeg[frame + i] = static_cast<char>(0xFF);
  EXPECT_ERROR(test::decode(jpeg), "65535x65535 pixels, more than 100 million");
  jpeg[frame + 5] = jpeg[frame + 6] = 0;
  EXPECT_ERROR(test::decode(jpeg), "x0 pixels");

  std::string png = golden_file("png");
  png[16] = png[20] = 0x10;  // 268 million wide and high
  const uint32_t crc = static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(png.data()) + 12, 17));
  for (int i = 0; i < 4; ++i) png[29 + i] = static_cast<char>(crc >> (24 - 8 * i));
  EXPECT_ERROR(test::decode(png), "more than 100 million");

  std::string bmp = golden_file("bmp");
  bmp[20] = bmp[24] = 0x7F;
  EXPECT_ERROR(test::decode(bmp), "more than 100 million");
  std::string compressed = golden_file("bmp");
  compressed[30] = 1;
  EXPECT_ERROR(test::decode(compressed), "compressed BMP (method 1)");
}

TEST(Image, AJpegThatCannotHoldItsPixelsIsRefusedBeforeDecoding) {
  std::string jpeg = golden_file("jpeg");
  const size_t frame = jpeg.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  jpeg[frame + 5] = jpeg[frame + 7] = 0x20;  // more than 8192 high and wide
  EXPECT_ERROR(test::decode(jpeg), "too many for");
}

TEST(Image, PathsThatAreNoFiles) {
  const test::TemporaryDirectory folder;
  EXPECT_ERROR(read_image(folder.path() / "none.jpg"), "none.jpg: there is no such file");
  EXPECT_ERROR(read_image(folder.path()), "is a folder");
}

TEST(Image, PngIsLosslessAndJpegNearly) {
  const test::TemporaryDirectory folder;
  const Image image = test::pattern(37, 23, 3, false);
  write_png(folder.path() / "a.png", image);
  EXPECT_EQ(read_image(folder.path() / "a.png"), image);
  Image flat(40, 30);
  for (size_t i = 0; i < flat.pixels.size(); ++i) flat.pixels[i] = static_cast<uint8_t>(60 + 70 * (i % 3));
  write_jpeg(folder.path() / "a.jpg", flat, 95);
  const Image back = read_image(folder.path() / "a.jpg");
  for (size_t i = 0; i < flat.pixels.size(); ++i) ASSERT_NEAR(back.pixels[i], flat.pixels[i], 2);
}

TEST(Image, WritingFailsInOneLineAndKeepsTheOldFile) {
  const test::TemporaryDirectory folder;
  const Image image = test::pattern(5, 6, 3, false);
  EXPECT_ERROR(write_png(folder.path() / "none/a.png", image), "cannot be written");
  EXPECT_ERROR(write_jpeg(folder.path() / "a.jpg", image, 0), "JPEG quality is 0");
  EXPECT_ERROR(write_jpeg(folder.path() / "a.jpg", Image{}, 90), "it must have pixels");
  EXPECT_FALSE(fs::exists(folder.path() / "a.jpg"));
}

TEST(Image, Extensions) {
  for (const char* good : {"a.jpg", "b/c.JPEG", "x.Png", "y.bmp"})
    EXPECT_TRUE(has_image_extension(good)) << good;
  for (const char* bad : {"a.txt", "jpg", "a.jpg.bak", ".png"}) EXPECT_FALSE(has_image_extension(bad)) << bad;
}

TEST(Image, ReadsTheSharedDataSets) {
  const fs::path root = test::shared_path("data/insects/JPEGImages");
  if (!fs::exists(root)) GTEST_SKIP() << "no shared data";
  int progressive = 0;
  for (const auto& entry : fs::directory_iterator(root)) {
    const std::string bytes = read_file(entry.path());
    const size_t frame = bytes.find("\xFF\xC2");
    if (frame == std::string::npos || ++progressive > 2) continue;
    const Image image = test::decode(bytes, entry.path().string());
    EXPECT_GT(image.width, 100);
  }
  EXPECT_GT(progressive, 0);
}

}  // namespace

}  // namespace espalier
