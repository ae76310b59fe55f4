// What holds for every transform: boxes, masks and the map go where the picture goes.

#include <gtest/gtest.h>

#include <cmath>

#include "datasets/marked_pictures.h"
#include "datasets/pictures.h"
#include "datasets/transform_table.h"

namespace espalier {

namespace {

Random stream(uint64_t n) { return Random(11, Purpose::kTest, 0, n); }

/// Every transform that moves pixels, each with and without its defaults. The first number of boxes kept is
/// out of 60 pictures.
struct Case {
  Json transform;
  int least_kept;
};

std::vector<Case> moving_transforms() {
  return {
      {{{"name", "random_horizontal_flip"}, {"probability", 1}}, 60},
      {{{"name", "random_vertical_flip"}, {"probability", 1}}, 60},
      {{{"name", "random_resized_crop"}, {"size", 61}, {"lower_scale", 0.3}}, 15},
      {{{"name", "random_rotate"}, {"probability", 1}, {"degrees", 40}, {"fill", {0, 0, 0}}}, 40},
      {{{"name", "resize_short"}, {"size", 131}}, 60},
      {{{"name", "resize_short"}, {"size", 37}}, 60},
      {{{"name", "resize"}, {"width", 150}, {"height", 47}, {"filter", "bicubic"}}, 60},
      {{{"name", "resize"}, {"width", 33}, {"height", 90}, {"filter", "random"}}, 60},
      {{{"name", "center_crop"}, {"size", 50}}, 10},
      {{{"name", "random_expand"}, {"probability", 1}, {"fill", {0, 0, 0}}}, 60},
      {{{"name", "random_expand"}, {"probability", 1}, {"fill", {0, 0, 0}}, {"largest", 100}}, 60},
      {{{"name", "random_iou_crop"}}, 60},
      {{{"name", "random_iou_crop"}, {"thresholds", {0.3}}, {"scale", {0.3, 0.6}}}, 40},
      {{{"name", "multi_scale_resize"}, {"sizes", {64, 96, 160}}}, 60},
      {{{"name", "resize_long"}, {"size", 45}, {"filter", "lanczos"}}, 60},
      {{{"name", "random_resize_long"}, {"low", 60}, {"high", 200}}, 60},
      {{{"name", "pad"}, {"size", 120}, {"fill", {0, 0, 0}}}, 60},
      {{{"name", "random_padding_crop"}, {"size", 90}, {"fill", {0, 0, 0}}}, 30},
      {{{"name", "random_padding_crop"}, {"size", 55}, {"fill", {0, 0, 0}}}, 10},
  };
}

TEST(Geometry, KnowsEveryTransformThatMovesPixels) {
  const std::vector<Case> cases = moving_transforms();
  for (const TransformEntry& entry : transform_table()) {
    const auto transform = entry.make();
    const bool stays = dynamic_cast<const ColorTransform*>(transform.get()) || transform->mixes();
    const bool here = std::any_of(cases.begin(), cases.end(),
                                  [&](const Case& c) { return c.transform["name"] == entry.name; });
    EXPECT_TRUE(stays || here) << entry.name << " is no ColorTransform and has no case above";
  }
}

TEST(Geometry, ABoxDrawnIntoThePictureIsWhereTheReturnedBoxSays) {
  for (const Case& c : moving_transforms()) {
    SCOPED_TRACE(c.transform.dump());
    int kept = 0;
    for (int i = 0; i < 60; ++i) {
      Random where = stream(i), random = stream(1000 + i);
      const int width = 70 + where.below(40), height = 60 + where.below(40);
      const int w = 12 + where.below(20), h = 12 + where.below(20);
      LabelledImage sample =
          test::boxed(width, height, {where.below(width - w + 1), where.below(height - h + 1), w, h}, 3);
      test::apply(c.transform, sample, {random, i / 60.0});
      if (sample.boxes.empty()) continue;
      ++kept;
      ASSERT_EQ(sample.boxes.size(), 1u);
      const ObjectBox &said = sample.boxes[0], seen = test::bright_extent(sample.image);
      EXPECT_EQ(said.label, 3);
      EXPECT_EQ(said.score, 1);
      // Edges between pixels, blurred by the filter: a pixel, or what one pixel of the file became.
      const double scale = std::max(static_cast<double>(sample.image.width) / width,
                                    static_cast<double>(sample.image.height) / height);
      // The tip of a turned corner fills less than half of its pixels.
      const double limit = c.transform["name"] == "random_rotate" ? 2 : 1.01 * std::max(1.0, scale);
      ASSERT_NEAR(said.x0, seen.x0, limit) << i;
      ASSERT_NEAR(said.y0, seen.y0, limit) << i;
      ASSERT_NEAR(said.x1, seen.x1, limit) << i;
      ASSERT_NEAR(said.y1, seen.y1, limit) << i;
      ASSERT_GE(said.x0, 0);
      ASSERT_LE(said.x1, sample.image.width);
      ASSERT_GE(said.y0, 0);
      ASSERT_LE(said.y1, sample.image.height);
    }
    EXPECT_GE(kept, c.least_kept);
  }
}

TEST(Geometry, TheMapPutsTheFilesBoxWhereTheReturnedBoxIs) {
  for (const Case& c : moving_transforms()) {
    if (c.transform["name"] == "random_rotate") continue;
    SCOPED_TRACE(c.transform.dump());
    for (int i = 0; i < 40; ++i) {
      Random where = stream(i), random = stream(2000 + i);
      LabelledImage sample = test::boxed(97, 83, {where.below(70), where.below(60), 21, 17});
      const ObjectBox file = sample.boxes[0];
      test::apply({{"name", "random_horizontal_flip"}, {"probability", 0.5}}, sample, {random});
      test::apply(c.transform, sample, {random, i / 40.0});
      if (sample.boxes.empty()) continue;
      const PixelMap& map = sample.to_network;
      const auto between = [](double a, double b, int size) {
        return std::pair(std::clamp(std::min(a, b), 0.0, static_cast<double>(size)),
                         std::clamp(std::max(a, b), 0.0, static_cast<double>(size)));
      };
      const auto [x0, x1] = between(map.scale_x * file.x0 + map.offset_x,
                                    map.scale_x * file.x1 + map.offset_x, sample.image.width);
      const auto [y0, y1] = between(map.scale_y * file.y0 + map.offset_y,
                                    map.scale_y * file.y1 + map.offset_y, sample.image.height);
      ASSERT_NEAR(sample.boxes[0].x0, x0, 1e-3);
      ASSERT_NEAR(sample.boxes[0].x1, x1, 1e-3);
      ASSERT_NEAR(sample.boxes[0].y0, y0, 1e-3);
      ASSERT_NEAR(sample.boxes[0].y1, y1, 1e-3);
    }
  }
}

TEST(Geometry, ADiscInTheMaskFollowsItsPicture) {
  for (const Case& c : moving_transforms()) {
    SCOPED_TRACE(c.transform.dump());
    int64_t disc = 0, wrong = 0;
    for (int i = 0; i < 30; ++i) {
      Random where = stream(i), random = stream(3000 + i);
      LabelledImage sample =
          test::disc(90, 80, 30 + where.below(30), 30 + where.below(20), 12 + where.below(8));
      test::apply(c.transform, sample, {random, i / 30.0});
      ASSERT_EQ(sample.mask.width, sample.image.width);
      ASSERT_EQ(sample.mask.height, sample.image.height);
      ASSERT_EQ(sample.mask.classes.size(), sample.image.pixels.size() / 3);
      const test::Agreement seen = test::agreement(sample);
      disc += seen.disc;
      wrong += seen.wrong;
    }
    EXPECT_GT(disc, 2000);
    // The rim alone may differ, where the picture is between dark and bright.
    EXPECT_LT(static_cast<double>(wrong), 0.06 * static_cast<double>(disc));
  }
}

TEST(Geometry, WhatNoPictureCoversIsIgnoredInMasks) {
  Random random = stream(1);
  LabelledImage sample = test::disc(40, 30, 20, 15, 8);
  test::apply({{"name", "pad"}, {"size", 64}, {"fill", {9, 8, 7}}}, sample, {random});
  EXPECT_EQ(test::agreement(sample).ignored, 64 * 64 - 40 * 30);
  EXPECT_EQ(sample.mask.classes[40], Mask::kIgnored);
  EXPECT_EQ(sample.mask.classes[39], 0);
  EXPECT_EQ(sample.image.at(40, 0)[0], 9);
  EXPECT_EQ(sample.image.at(63, 63)[2], 7);
  EXPECT_EQ(sample.to_network.offset_x, 0);
  EXPECT_ERROR(test::apply({{"name", "pad"}, {"size", 63}}, sample, {random}),
               "pad: 64x64 pixels are more than 63x63; put resize_long before it");
}

TEST(Geometry, FlippingTwiceRestoresEverything) {
  LabelledImage sample = test::disc(41, 30, 12, 11, 8);
  sample.boxes = {{4, 7, 20, 23, 1}};
  const LabelledImage before = sample;
  for (const auto flip : {static_cast<void (*)(LabelledImage&)>(flip_horizontal),
                          static_cast<void (*)(LabelledImage&)>(flip_vertical)}) {
    flip(sample);
    EXPECT_NE(sample.image, before.image);
    EXPECT_NE(sample.mask.classes, before.mask.classes);
    flip(sample);
    EXPECT_EQ(sample.image, before.image);
    EXPECT_EQ(sample.mask.classes, before.mask.classes);
    EXPECT_EQ(sample.boxes[0].x0, 4);
    EXPECT_EQ(sample.boxes[0].y1, 23);
    EXPECT_EQ(sample.to_network.scale_x, 1);
    EXPECT_EQ(sample.to_network.offset_x, 0);
  }
}

TEST(Geometry, ABoxStaysWhereItsCentreStays) {
  const std::vector<ObjectBox> boxes = {{0, 0, 10, 10}, {0, 0, 20, 20}, {30, 30, 50, 50}, {8, 8, 14, 40}};
  const std::vector<ObjectBox> kept = boxes_within(boxes, {8, 8, 30, 30});
  ASSERT_EQ(kept.size(), 2u);  // centres (5, 5), (10, 10), (40, 40), (11, 24)
  EXPECT_EQ(kept[0].x0, 8);
  EXPECT_EQ(kept[0].x1, 20);
  EXPECT_EQ(kept[1].y0, 8);
  EXPECT_EQ(kept[1].y1, 38);
}

TEST(Geometry, ATurnHasNoMap) {
  LabelledImage sample = test::boxed(40, 40, {10, 12, 8, 9});
  rotate(sample, 20, {});
  EXPECT_TRUE(std::isnan(sample.to_network.scale_x));
  EXPECT_TRUE(std::isnan(compose(sample.to_network, {2, 2, 0, 0}).offset_y));
}

}  // namespace

}  // namespace espalier
