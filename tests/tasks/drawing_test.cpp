// Drawing: what is coloured, what stays, and that nothing runs over the edge.

#include "tasks/drawing.h"

#include <gtest/gtest.h>

#include <set>

#include "support/messages.h"
#include "tasks/font.h"

namespace espalier {
namespace {

Image grey(int width, int height) {
  Image image(width, height);
  for (uint8_t& v : image.pixels) v = 100;
  return image;
}

Color at(const Image& image, int x, int y) {
  return {image.at(x, y)[0], image.at(x, y)[1], image.at(x, y)[2]};
}

constexpr Color kGrey = {100, 100, 100};

TEST(FontTest, EveryCharacterHasAShapeOfItsOwn) {
  std::set<std::string> shapes;
  for (int code = 32; code < 127; ++code) {
    std::string dots;
    for (int y = 0; y < kFontHeight; ++y)
      for (int x = 0; x < kFontWidth; ++x) dots += font_dot(static_cast<char>(code), x, y) ? '#' : '.';
    EXPECT_TRUE(shapes.insert(dots).second) << static_cast<char>(code) << " looks like another";
    EXPECT_EQ(dots.find('#') == std::string::npos, code == 32);
  }
  EXPECT_EQ(font_dot('\x01', 1, 0), font_dot('?', 1, 0));
  EXPECT_FALSE(font_dot('M', -1, 0));
  EXPECT_FALSE(font_dot('M', kFontWidth, 0));
}

TEST(FontTest, NamesAreWrittenInItsLetters) {
  for (const auto& [text, want] : std::vector<std::pair<std::string, std::string>>{
           {"red onion, 2nd", "red onion, 2nd"},
           {"Öl", "Ol"},
           {"Großes Gemüse", "Grosses Gemuse"},
           {"Ærø, Œuf, Þór", "AEro, OEuf, Thor"},
           {"ÀÿĀſ×", "AyAsx"},
           {"Łódź, İzmir, Ĳssel, ŉ", "Lodz, Izmir, IJssel, n"},
           {"O\xCC\x88l", "Ol"},  // the accent as a character of its own
           {"a\xC2\xA0"
            "b",
            "a b"},
           {"日本 α 🥕", "?? ? ?"},
           {"\xFF\xC0\x80"
            "a\xC3",
            "???a?"},  // no UTF-8
           {"\xE2\x82"
            "b",
            "??b"},
           {"\t", "?"},
           {"", ""}})
    EXPECT_EQ(font_text(text), want) << text;
}

TEST(DrawingTest, BoxesAboveTheThresholdAreOutlined) {
  Image image = grey(120, 90);
  Prediction prediction;
  prediction.boxes = {{20, 30, 60, 70, 0, 0.9f}, {80, 30, 110, 70, 1, 0.4f}};
  draw(image, prediction, {"ant", "bee"});
  EXPECT_EQ(at(image, 20, 50), class_color(0));
  EXPECT_EQ(at(image, 59, 50), class_color(0));
  EXPECT_EQ(at(image, 40, 69), class_color(0));
  EXPECT_EQ(at(image, 40, 50), kGrey) << "the inside stays";
  EXPECT_EQ(at(image, 19, 75), kGrey);
  EXPECT_EQ(at(image, 80, 50), kGrey) << "0.4 is below 0.5";
  draw(image, prediction, {"ant", "bee"}, {.threshold = 0.3});
  EXPECT_EQ(at(image, 80, 50), class_color(1));
}

TEST(DrawingTest, StaysInsideThePicture) {
  for (const auto& [width, height] : {std::pair{1, 1}, {10, 10}, {40, 6}, {1000, 3}}) {
    Image image = grey(width, height);
    Prediction prediction;
    prediction.boxes = {{-50, -50, 2000, 2000, 3, 1}, {0, 0, 1, 1, 300, 0.9f}, {5, 2, 9, 3, 0, 0.8f}};
    draw(image, prediction,
         {"\xC3\xBC"
          "ber langer Name einer Klasse"});
    EXPECT_EQ(image.pixels.size(), static_cast<size_t>(width) * height * 3);
  }
}

TEST(DrawingTest, MasksAreLaidOverAndTheBackgroundStays) {
  Image image = grey(20, 20);
  Prediction prediction;
  prediction.mask = {20, 20, std::vector<uint8_t>(400)};
  for (int y = 5; y < 15; ++y)
    for (int x = 5; x < 15; ++x) prediction.mask.classes[y * 20 + x] = 1;
  draw(image, prediction, {"background", "disc"});
  const Color c = class_color(1);
  EXPECT_EQ(at(image, 2, 2), kGrey);
  EXPECT_EQ(at(image, 5, 10), c) << "borders are solid";
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(at(image, 10, 10)[i], 0.6 * c[i] + 40, 1);
  Image other = grey(19, 20);
  test::expect_says(test::message_of([&] { draw(other, prediction, {}); }), "the mask is 20x20");
}

TEST(DrawingTest, TheFirstOfManyClassesStaysWhateverItsName) {
  for (const std::vector<std::string>& labels :
       {std::vector<std::string>{"soil", "crop", "weed"}, {"soil", "background", "weed"}, {"soil", "crop"}}) {
    Image image = grey(20, 20);
    Prediction prediction;
    prediction.mask = {20, 20, std::vector<uint8_t>(400)};
    for (int y = 5; y < 15; ++y)
      for (int x = 5; x < 15; ++x) prediction.mask.classes[y * 20 + x] = 1;
    draw(image, prediction, labels);
    EXPECT_EQ(at(image, 2, 2), kGrey);
    EXPECT_EQ(at(image, 5, 10), class_color(1)) << labels[1];
  }
}

TEST(DrawingTest, IgnoredPixelsAreStripedAndOfNoClass) {
  Image image = grey(30, 30);
  Prediction prediction;
  prediction.mask = {30, 30, std::vector<uint8_t>(900, Mask::kIgnored)};
  draw(image, prediction, {"soil", "crop", "weed"});
  int striped = 0, bare = 0;
  for (int y = 0; y < 30; ++y)
    for (int x = 0; x < 30; ++x) {
      striped += at(image, x, y) == kIgnoredColor;
      bare += at(image, x, y) == kGrey;
    }
  EXPECT_EQ(striped, 300);
  EXPECT_EQ(bare, 600);
}

TEST(DrawingTest, BoxesWithoutTagsAreTheirLinesAlone) {
  Image image = grey(40, 40);
  Prediction prediction;
  prediction.boxes = {{.x0 = 10, .y0 = 20, .x1 = 30, .y1 = 35, .label = 1, .score = 0.9f}};
  draw(image, prediction, {"a", "b"}, {.tags = false, .line = 2});
  for (int y = 0; y < 40; ++y)
    for (int x = 0; x < 40; ++x) {
      const bool inside = x >= 10 && x < 30 && y >= 20 && y < 35;
      const bool core = x >= 12 && x < 28 && y >= 22 && y < 33;
      EXPECT_EQ(at(image, x, y), inside && !core ? class_color(1) : kGrey) << x << ' ' << y;
    }
}

TEST(DrawingTest, NeighbouringClassesHaveDifferentColors) {
  for (int k = 0; k < 60; ++k) {
    int difference = 0;
    for (int c = 0; c < 3; ++c) difference += std::abs(class_color(k)[c] - class_color(k + 1)[c]);
    EXPECT_GT(difference, 100) << k;
  }
}

}  // namespace
}  // namespace espalier
