#include "io/index_png.h"

#include <gtest/gtest.h>

#include "datasets/pictures.h"
#include "support/temporary_directory.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

struct IndexPngTest : testing::Test {
  test::TemporaryDirectory folder;
  Json golden = test::read_golden("masks.json");
};

TEST_F(IndexPngTest, ReadsTheNumbersOfEveryKind) {
  for (const Json& c : golden["good"]) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const fs::path path = folder.path() / "mask.png";
    test::write_text(path, test::from_hex(c["file"]));
    const IndexImage image = read_index_png(path);
    EXPECT_EQ(image.width, c["width"]);
    EXPECT_EQ(image.height, c["height"]);
    EXPECT_EQ(Json(image.values), c["values"]);
  }
  EXPECT_EQ(golden["good"].size(), 9u);
}

TEST_F(IndexPngTest, ColoursAreNoNumbers) {
  for (const Json& c : golden["refused"]) {
    const fs::path path = folder.path() / "mask.png";
    test::write_text(path, test::from_hex(c["file"]));
    EXPECT_ERROR(read_index_png(path), path.string() + ": is " + c["says"].get<std::string>());
  }
  EXPECT_EQ(golden["refused"].size(), 4u);
}

TEST_F(IndexPngTest, EveryTruncationAndEveryChangedByteIsRefused) {
  const std::string file = test::from_hex(golden["good"][0]["file"]);
  const fs::path path = folder.path() / "mask.png";
  for (size_t length = 0; length < file.size(); ++length) {
    test::write_text(path, file.substr(0, length));
    ASSERT_THROW(read_index_png(path), Error) << length;
  }
  for (size_t at = 0; at < file.size(); ++at) {
    std::string changed = file;
    changed[at] = static_cast<char>(changed[at] ^ 0x10);
    test::write_text(path, changed);
    ASSERT_THROW(read_index_png(path), Error) << at;
  }
}

TEST_F(IndexPngTest, WritesWhatItReads) {
  IndexImage image{7, 3, {}};
  for (int i = 0; i < 21; ++i) image.values.push_back(static_cast<uint16_t>(i == 20 ? 255 : i % 5));
  const fs::path path = folder.path() / "mask.png";
  write_index_png(path, image, voc_palette());
  EXPECT_EQ(read_index_png(path), image);
  // The colours are for people: class 1 is dark red, 2 dark green.
  const Image seen = read_image(path);
  EXPECT_EQ(seen.at(1, 0)[0], 128);
  EXPECT_EQ(seen.at(1, 0)[1], 0);
  EXPECT_EQ(seen.at(2, 0)[1], 128);
  EXPECT_ERROR(write_index_png(path, image, {{0, 0, 0}, {9, 9, 9}}),
               "the value 2 has no colour in a palette of 2; give it one");
  EXPECT_ERROR(write_index_png(folder.path() / "none/m.png", image, voc_palette()), "cannot be written");
  EXPECT_EQ(read_index_png(path), image);
}

TEST(VocPalette, IsTheKnownOne) {
  const Palette palette = voc_palette();
  const std::array<uint8_t, 3> aeroplane = {128, 0, 0}, person = {192, 128, 128}, border = {224, 224, 192};
  EXPECT_EQ(palette[1], aeroplane);
  EXPECT_EQ(palette[15], person);
  EXPECT_EQ(palette[255], border);
}

}  // namespace

}  // namespace espalier
