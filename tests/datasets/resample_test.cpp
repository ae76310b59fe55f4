#include "datasets/resample.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "base/random.h"
#include "datasets/pictures.h"

namespace espalier {

namespace {

Filter filter_named(const std::string& text) {
  for (const Filter f : {Filter::kNearest, Filter::kBox, Filter::kBilinear, Filter::kBicubic})
    if (text == name(f)) return f;
  return Filter::kLanczos;
}

TEST(Resample, EqualsPillow) {
  const Json golden = test::read_golden("resize.json");
  int small = 0, large = 0;
  for (const Json& c : golden["cases"]) {
    const Image image = test::pattern(c["width"], c["height"], c["seed"], c["smooth"]);
    const Image got = resize(image, c["to_width"], c["to_height"], filter_named(c["filter"]));
    SCOPED_TRACE(
        str(c["filter"], " ", c["width"], "x", c["height"], " to ", c["to_width"], "x", c["to_height"]));
    if (c.contains("pixels")) {
      const std::string want = test::from_hex(c["pixels"]);
      ASSERT_EQ(std::string(got.pixels.begin(), got.pixels.end()), want);
      ++small;
    } else {
      char hash[17];
      std::snprintf(hash, sizeof hash, "%016lx", fnv1a(got.pixels.data(), got.pixels.size()));
      ASSERT_EQ(hash, c["fnv1a"].get<std::string>());
      ++large;
    }
  }
  EXPECT_EQ(small, 80);
  EXPECT_EQ(large, 40);
}

constexpr Filter kAll[] = {Filter::kNearest, Filter::kBox, Filter::kBilinear, Filter::kBicubic,
                           Filter::kLanczos};

TEST(Resample, OfABoxIsResizeOfTheCrop) {
  const Image image = test::pattern(41, 33, 7, false);
  for (const Filter filter : kAll)
    for (const Box& box : {Box{0, 0, 41, 33}, Box{3, 5, 17, 11}, Box{20, 22, 21, 11}, Box{40, 32, 1, 1}}) {
      SCOPED_TRACE(str(name(filter), " ", box.width, "x", box.height));
      EXPECT_EQ(resize(image, box, 13, 19, filter), resize(crop(image, box), 13, 19, filter));
      EXPECT_EQ(resize(image, box, box.width, 19, filter), resize(crop(image, box), box.width, 19, filter));
      EXPECT_EQ(resize(image, box, 13, box.height, filter), resize(crop(image, box), 13, box.height, filter));
    }
}

TEST(Resample, FlatStaysFlatAndSameSizeStaysTheSame) {
  Image flat(23, 31);
  for (size_t i = 0; i < flat.pixels.size(); ++i) flat.pixels[i] = static_cast<uint8_t>(50 + 100 * (i % 3));
  const Image noise = test::pattern(23, 31, 5, false);
  for (const Filter filter : kAll) {
    const Image out = resize(flat, 40, 9, filter);
    for (size_t i = 0; i < out.pixels.size(); ++i)
      ASSERT_EQ(out.pixels[i], 50 + 100 * (i % 3)) << name(filter);
    EXPECT_EQ(resize(noise, 23, 31, filter), noise);
  }
}

TEST(Resample, RefusesWhatDoesNotFit) {
  const Image image = test::pattern(8, 6, 1, false);
  EXPECT_ERROR(crop(image, {1, 0, 8, 6}), "does not lie within the picture of 8x6");
  EXPECT_ERROR(crop(image, {0, 0, 0, 6}), "a crop of 0x6");
  EXPECT_ERROR(crop(image, {-1, 0, 2, 2}), "at (-1, 0)");
  EXPECT_ERROR(resize(image, 0, 5, Filter::kBilinear), "to 0x5");
}

}  // namespace

}  // namespace espalier
