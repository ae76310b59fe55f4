#include "datasets/resample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
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

/// The definition, one weight after another: rows, rounded, then columns.
struct Definition {
  double (*weight)(double);
  double support;
};

Image pass(const Image& image, int width, const Definition& filter) {
  if (width == image.width) return image;
  Image out(width, image.height);
  const double scale = static_cast<double>(image.width) / width, stretch = std::max(scale, 1.0);
  const double support = filter.support * stretch;
  for (int x = 0; x < width; ++x) {
    const double center = (x + 0.5) * scale, shrink = 1.0 / stretch;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0),
              end = std::min(static_cast<int>(center + support + 0.5), image.width);
    std::vector<double> exact;
    for (int t = first; t < end; ++t) exact.push_back(filter.weight((t - center + 0.5) * shrink));
    double sum = 0;
    for (const double w : exact) sum += w;
    for (int y = 0; y < image.height; ++y)
      for (int c = 0; c < 3; ++c) {
        int64_t value = 1 << 21;
        for (int t = first; t < end; ++t)
          value += std::lround(exact[t - first] / sum * (1 << 22)) * image.at(t, y)[c];
        out.at(x, y)[c] = static_cast<uint8_t>(std::clamp<int64_t>(value >> 22, 0, 255));
      }
  }
  return out;
}

Image transposed(const Image& image) {
  Image out(image.height, image.width);
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) std::copy_n(image.at(x, y), 3, out.at(y, x));
  return out;
}

Image by_definition(const Image& image, int width, int height, Filter filter) {
  const auto sinc = [](double x) { return x == 0 ? 1 : std::sin(M_PI * x) / (M_PI * x); };
  static const auto lanczos = [sinc](double x) { return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0; };
  const auto cubic = [](double x) {
    x = std::abs(x);
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
  };
  const Definition of =
      filter == Filter::kBox        ? Definition{[](double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0; }, 0.5}
      : filter == Filter::kBilinear ? Definition{[](double x) { return std::max(0.0, 1 - std::abs(x)); }, 1}
      : filter == Filter::kBicubic  ? Definition{cubic, 2}
                                    : Definition{[](double x) { return lanczos(x); }, 3};
  return transposed(pass(transposed(pass(image, width, of)), height, of));
}

constexpr std::pair<int, int> kOddSizes[] = {{1, 1}, {2, 1},   {1, 9},  {3, 5},
                                             {7, 4}, {13, 17}, {33, 6}, {50, 61}};

TEST(Resample, IsItsDefinitionForOddSizesToTheBit) {
  for (const Filter filter : {Filter::kBox, Filter::kBilinear, Filter::kBicubic, Filter::kLanczos})
    for (const auto& [width, height] : kOddSizes)
      for (const auto& [to_width, to_height] : kOddSizes) {
        const Image image = test::pattern(width, height, 11, false);
        ASSERT_EQ(resize(image, to_width, to_height, filter),
                  by_definition(image, to_width, to_height, filter))
            << name(filter) << " " << width << "x" << height << " to " << to_width << "x" << to_height;
      }
}

TEST(Resample, OfABoxBeyondThePictureIsResizeOfTheFilledCanvas) {
  const Fill fill{124, 116, 104};
  for (const auto& [width, height] : kOddSizes)
    for (const Box& box : {Box{-3, -2, width + 9, height + 4}, Box{1, -5, 20, 12}, Box{-15, 3, 17, 30},
                           Box{-40, -40, 140, 130}, Box{100, 0, 5, 5}, Box{-1, -1, 1, 1}}) {
      const Image image = test::pattern(width, height, 12, false);
      Image canvas(box.width, box.height);
      for (int y = 0; y < box.height; ++y)
        for (int x = 0; x < box.width; ++x) {
          const int u = x + box.x, v = y + box.y;
          const uint8_t outside[] = {fill.red, fill.green, fill.blue};
          std::copy_n(u >= 0 && u < width && v >= 0 && v < height ? image.at(u, v) : outside, 3,
                      canvas.at(x, y));
        }
      ASSERT_EQ(crop(image, box, fill), canvas);
      for (const Filter filter : kAll)
        for (const auto& [to_width, to_height] :
             {std::pair(19, 23), {5, 200}, {64, 3}, {box.width, 31}, {31, box.height}})
          ASSERT_EQ(resize(image, box, to_width, to_height, filter, fill),
                    resize(canvas, to_width, to_height, filter))
              << name(filter) << " " << width << "x" << height << " box " << box.x << "," << box.y << " to "
              << to_width << "x" << to_height;
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
