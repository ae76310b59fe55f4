// The transforms that detection and segmentation have of their own.

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "datasets/marked_pictures.h"
#include "datasets/pictures.h"
#include "tasks/nms.h"

namespace espalier {

namespace {

Random stream(uint64_t n) { return Random(13, Purpose::kTest, 0, n); }

TEST(Mixup, BlendsBothPicturesAndKeepsBothBoxes) {
  LabelledImage a = test::boxed(30, 20, {2, 3, 10, 8}, 1), b = test::boxed(20, 40, {6, 22, 9, 10}, 2);
  mix(a, b, 0.75);
  EXPECT_EQ(a.image.width, 30);
  EXPECT_EQ(a.image.height, 40);
  ASSERT_EQ(a.boxes.size(), 2u);
  EXPECT_EQ(a.boxes[0].label, 1);
  EXPECT_FLOAT_EQ(a.boxes[0].score, 0.75f);
  EXPECT_EQ(a.boxes[1].label, 2);
  EXPECT_FLOAT_EQ(a.boxes[1].score, 0.25f);
  EXPECT_EQ(a.boxes[1].y1, 32);
  EXPECT_EQ(a.image.at(5, 5)[0], 191);   // 0.75 * 255
  EXPECT_EQ(a.image.at(10, 25)[0], 64);  // 0.25 * 255
  EXPECT_EQ(a.image.at(25, 30)[0], 0);   // neither picture is here
  LabelledImage both = test::boxed(10, 10, {0, 0, 10, 10}), same = both;
  mix(both, same, 0.4);
  EXPECT_EQ(both.image.at(4, 4)[1], 255);
  LabelledImage masked = test::disc(10, 10, 5, 5, 3);
  EXPECT_ERROR(mix(masked, a, 0.5), "mixup: masks cannot be mixed");
}

TEST(Mixup, IsItsDefinitionToTheBit) {
  constexpr std::pair<int, int> sizes[] = {{1, 1}, {3, 7}, {17, 5}, {40, 2}};
  for (const auto& [wa, ha] : sizes)
    for (const auto& [wb, hb] : sizes) {
      LabelledImage a{test::pattern(wa, ha, 1, false)};
      const LabelledImage b{test::pattern(wb, hb, 2, false)}, before = a;
      LabelledImage lent = before.lend();
      mix(a, b, 0.37);
      mix(lent, b, 0.37);
      EXPECT_EQ(a.image, lent.image);
      ASSERT_EQ((Size{a.image.width, a.image.height}), (Size{std::max(wa, wb), std::max(ha, hb)}));
      for (int y = 0; y < a.image.height; ++y)
        for (int x = 0; x < a.image.width; ++x)
          for (int c = 0; c < 3; ++c) {
            const float of_a = x < wa && y < ha ? 0.37f * before.image.at(x, y)[c] : 0,
                        of_b = x < wb && y < hb ? static_cast<float>(1 - 0.37) * b.image.at(x, y)[c] : 0;
            ASSERT_EQ(a.image.at(x, y)[c], static_cast<uint8_t>(of_a + of_b + 0.5f));
          }
    }
}

TEST(Frame, ManyCropsAndPlacesAreTheSameAtOnceAsOneByOne) {
  for (int i = 0; i < 200; ++i) {
    Random random = stream(4000 + i);
    LabelledImage original = test::disc(1 + random.below(40), 1 + random.below(30), 9, 8, 5),
                  lazy = original.lend(), eager = original;
    for (int step = 0; step < 5; ++step) {
      const int width = eager.width(), height = eager.height();
      if (random.flip(0.5)) {
        const int w = 1 + random.below(width), h = 1 + random.below(height);
        const Box part{random.below(width - w + 1), random.below(height - h + 1), w, h};
        crop(lazy, part);
        crop(eager, part);
      } else {
        const int right = random.below(9), down = random.below(9), x = random.below(right + 1),
                  y = random.below(down + 1);
        const Fill fill{static_cast<uint8_t>(step * 40), 7, 99};
        place(lazy, width + right, height + down, x, y, fill);
        place(eager, width + right, height + down, x, y, fill);
      }
      eager.settle();
    }
    if (random.flip(0.5)) {
      resize(lazy, 21, 18, Filter::kBicubic);
      resize(eager, 21, 18, Filter::kBicubic);
    }
    lazy.settle();
    ASSERT_EQ(lazy.image, eager.image) << i;
    ASSERT_EQ(lazy.mask.classes, eager.mask.classes) << i;
    ASSERT_EQ(lazy.to_network.offset_x, eager.to_network.offset_x) << i;
  }
}

TEST(Mixup, EndsAtItsEpochAndAsksForOnePartner) {
  const Json mixup = {{"name", "mixup"}, {"until_epoch", 3}};
  for (const int epoch : {0, 2, 3, 9}) {
    int asked = 0;
    Random random = stream(epoch);
    LabelledImage sample = test::boxed(16, 16, {2, 2, 6, 6});
    test::apply(mixup, sample, {random, 0, epoch, [&](Random&) {
                                  ++asked;
                                  return test::boxed(16, 16, {8, 8, 6, 6});
                                }});
    EXPECT_EQ(asked, epoch < 3);
    EXPECT_EQ(sample.boxes.size(), epoch < 3 ? 2u : 1u);
    if (epoch < 3) {
      EXPECT_NEAR(sample.boxes[0].score + sample.boxes[1].score, 1, 1e-6);
    }
  }
}

TEST(Mixup, SharesHaveTheMomentsOfTheBetaDistribution) {
  constexpr int kDraws = 20000;
  for (const auto& [a, b] : {std::pair(1.5, 1.5), {2.0, 5.0}, {1.0, 1.0}}) {
    double mean = 0, square = 0;
    Random random = stream(5);
    for (int i = 0; i < kDraws; ++i) {
      const double x = random_beta(a, b, random);
      ASSERT_GE(x, 0);
      ASSERT_LE(x, 1);
      mean += x / kDraws;
      square += x * x / kDraws;
    }
    const double want = a / (a + b), variance = a * b / ((a + b) * (a + b) * (a + b + 1));
    EXPECT_NEAR(mean, want, 5 * std::sqrt(variance / kDraws));
    EXPECT_NEAR(square - mean * mean, variance, 0.03 * variance);
  }
}

TEST(Mixup, MustComeBeforeAnythingRandom) {
  EXPECT_ERROR(Pipeline(Json::array({"random_horizontal_flip", "mixup", "normalize"})),
               "transforms[1]: mixup follows random_horizontal_flip, which is random");
  const Pipeline good(Json::array({"center_crop", "mixup", "random_horizontal_flip", "normalize"}));
  EXPECT_TRUE(good.mixes());
  Random random = stream(1);
  EXPECT_ERROR(good(Image(300, 300), random), "mixup needs a second picture");
}

TEST(Expand, LaysThePictureSomewhereOnACanvasOfTheFill) {
  std::set<float> places;
  double largest = 1;
  for (int i = 0; i < 100; ++i) {
    Random random = stream(i);
    LabelledImage sample = test::boxed(20, 10, {4, 3, 5, 4});
    test::apply({{"name", "random_expand"}, {"probability", 1.0}}, sample, {random});
    ASSERT_GE(sample.image.width, 20);
    ASSERT_LE(sample.image.width, 80);
    ASSERT_NEAR(sample.image.width, 2 * sample.image.height, 2);
    largest = std::max(largest, sample.image.width / 20.0);
    places.insert(sample.boxes[0].x0);
    EXPECT_EQ(sample.boxes[0].width(), 5);
    const ObjectBox seen = test::bright_extent(sample.image, 200);
    EXPECT_EQ(seen.x0, sample.boxes[0].x0);
    EXPECT_EQ(seen.y1, sample.boxes[0].y1);
  }
  EXPECT_GT(largest, 3.6);
  EXPECT_GT(places.size(), 20u);
}

TEST(Expand, ACanvasNeverGrowsBeyondItsLargestSide) {
  for (int i = 0; i < 30; ++i) {
    Random random = stream(i);
    LabelledImage sample = test::boxed(300, 100, {60, 30, 90, 60});
    test::apply({{"name", "random_expand"}, {"probability", 1.0}, {"largest", 400}}, sample, {random});
    ASSERT_LE(sample.image.width, 400);
    ASSERT_GE(sample.image.width, 295);
    ASSERT_NEAR(sample.image.width, 3 * sample.image.height, 14);
  }
  Random random = stream(1);
  LabelledImage larger = test::boxed(300, 2, {60, 0, 90, 2});
  test::apply({{"name", "random_expand"}, {"probability", 1.0}, {"largest", 20}}, larger, {random});
  EXPECT_LE(larger.image.width, 20);
  EXPECT_GE(larger.image.height, 1);
}

TEST(IouCrop, KeepsAnObjectAndRespectsItsThreshold) {
  int cropped = 0;
  for (int i = 0; i < 200; ++i) {
    Random random = stream(i);
    LabelledImage sample = test::boxed(100, 80, {30, 20, 50, 40});
    const ObjectBox before = sample.boxes[0];
    test::apply({{"name", "random_iou_crop"}, {"thresholds", {0.5}}}, sample, {random});
    ASSERT_EQ(sample.boxes.size(), 1u);
    if (sample.image.width == 100 && sample.image.height == 80) continue;
    ++cropped;
    const float x = static_cast<float>(-sample.to_network.offset_x),
                y = static_cast<float>(-sample.to_network.offset_y);
    const ObjectBox part{x, y, x + static_cast<float>(sample.image.width),
                         y + static_cast<float>(sample.image.height)};
    ASSERT_GE(overlap_of(part, before), 0.5);
    const double ratio = sample.image.width / 100.0 / (sample.image.height / 80.0);
    ASSERT_GT(ratio, 0.47);
    ASSERT_LT(ratio, 2.1);
    ASSERT_GE(sample.image.width * sample.image.height, 0.28 * 0.28 * 8000);
  }
  EXPECT_GT(cropped, 50);
  EXPECT_LT(cropped, 150);  // half of the orders begin with "as it is"
  Random random = stream(0);
  LabelledImage empty = test::boxed(100, 80, {30, 20, 50, 40});
  empty.boxes.clear();
  test::apply({{"name", "random_iou_crop"}}, empty, {random});
  EXPECT_EQ(empty.image.width, 100);
}

TEST(MultiScale, TheBatchChoosesTheSizeAndThePictureTheFilter) {
  const Json transform = {{"name", "multi_scale_resize"}, {"sizes", {32, 64, 96}}};
  const Pipeline pipeline(Json::array({transform, "normalize"}));
  EXPECT_EQ(pipeline.output_sizes(), (std::vector<Size>{{32, 32}, {64, 64}, {96, 96}}));
  EXPECT_EQ(pipeline.output_size(0), (Size{32, 32}));
  EXPECT_EQ(pipeline.output_size(0.34), (Size{64, 64}));
  EXPECT_EQ(pipeline.output_size(0.999999), (Size{96, 96}));
  std::set<uint64_t> results;
  for (int i = 0; i < 40; ++i) {
    Random random = stream(i);
    LabelledImage sample{test::pattern(50, 41, 3, false)};
    test::apply(transform, sample, {random, 0.2});
    ASSERT_EQ(sample.image.width, 32);
    ASSERT_EQ(sample.image.height, 32);
    results.insert(fnv1a(sample.image.pixels.data(), sample.image.pixels.size()));
  }
  EXPECT_EQ(results.size(), 5u);  // nearest, bilinear, bicubic, box, lanczos
  EXPECT_ERROR(
      Pipeline(Json::array({Json{{"name", "multi_scale_resize"}, {"sizes", Json::array()}}, "normalize"})),
      "a list of whole numbers");
  EXPECT_ERROR(
      Pipeline(Json::array({Json{{"name", "multi_scale_resize"}, {"sizes", {32, "x"}}}, "normalize"})),
      "sizes is \"x\"; a whole number");
}

TEST(RandomResizeLong, CoversItsRangeAndKeepsTheRatio) {
  std::set<int> sides;
  for (int i = 0; i < 200; ++i) {
    Random random = stream(i);
    LabelledImage sample{Image(60, 40)};
    test::apply({{"name", "random_resize_long"}, {"low", 20}, {"high", 29}}, sample, {random});
    sides.insert(sample.image.width);
    ASSERT_NEAR(sample.image.height, sample.image.width / 1.5, 0.51);
  }
  EXPECT_EQ(*sides.begin(), 20);
  EXPECT_EQ(*sides.rbegin(), 29);
  EXPECT_EQ(sides.size(), 10u);
  EXPECT_ERROR(
      Pipeline(Json::array({Json{{"name", "random_resize_long"}, {"low", 30}, {"high", 20}}, "normalize"})),
      "low is 30 and high is 20");
}

TEST(Transforms, APictureTenPixelsWideGoesThroughEveryDefault) {
  for (const char* task : {"classification", "detection", "segmentation"})
    for (const Json& list : {default_train_transforms(task, 64), default_eval_transforms(task, 64)}) {
      const Pipeline pipeline(list);
      for (int i = 0; i < 20; ++i) {
        Random random = stream(i);
        LabelledImage sample = std::string(task) == "segmentation" ? test::disc(10, 300, 5, 90, 4)
                                                                   : test::boxed(10, 300, {2, 80, 6, 40});
        const auto partner = [](Random&) { return test::boxed(300, 1, {2, 0, 6, 1}); };
        pipeline.run(sample, {random, i / 20.0, 0, partner}, 0, pipeline.steps());
        EXPECT_EQ((Size{sample.image.width, sample.image.height}), pipeline.output_size(i / 20.0));
        for (const ObjectBox& box : sample.boxes) EXPECT_TRUE(box.width() > 0 && box.height() > 0);
      }
    }
}

TEST(Transforms, DefaultsOfDetectionAreTheReferences) {
  const Json train = default_train_transforms("detection", 608),
             eval = default_eval_transforms("detection", 608);
  std::vector<std::string> names;
  for (const Json& step : train) names.push_back(step["name"]);
  EXPECT_EQ(names, (std::vector<std::string>{"mixup", "color_distort", "random_expand", "random_iou_crop",
                                             "multi_scale_resize", "random_horizontal_flip", "normalize"}));
  EXPECT_EQ(train[0]["alpha"], 1.5);
  EXPECT_EQ(train[0]["until_epoch"], 250);
  EXPECT_EQ(train[1]["brightness"], 0.5);
  EXPECT_EQ(train[1]["hue"], 18);
  EXPECT_EQ(train[2]["ratio"], 4);
  EXPECT_EQ(train[3]["thresholds"], Json({0, 0.1, 0.3, 0.5, 0.7, 0.9}));
  EXPECT_EQ(train[4]["sizes"], Json({320, 352, 384, 416, 448, 480, 512, 544, 576, 608}));
  EXPECT_EQ(train[4]["filter"], "random");
  EXPECT_EQ(eval[0]["filter"], "bicubic");
  EXPECT_EQ(default_train_transforms("detection", 320)[4]["sizes"], Json({160, 192, 224, 256, 288, 320}));
  EXPECT_EQ(default_train_transforms("detection", 300)[4]["sizes"], Json({300}));
}

TEST(Transforms, DefaultsOfSegmentationAreTheReferences) {
  const Json train = default_train_transforms("segmentation", 512),
             eval = default_eval_transforms("segmentation", 512);
  EXPECT_EQ(train[1]["low"], 400);
  EXPECT_EQ(train[1]["high"], 600);
  EXPECT_EQ(train[2]["size"], 512);
  EXPECT_EQ(train[2]["fill"], Json({127.5, 127.5, 127.5}));
  EXPECT_EQ(train[3]["mean"], Json({0.5, 0.5, 0.5}));
  EXPECT_EQ(eval[0]["name"], "resize_long");
  EXPECT_EQ(eval[1]["name"], "pad");
  EXPECT_ERROR(default_eval_transforms("poetry", 32), "no transforms for task 'poetry'");
}

}  // namespace

}  // namespace espalier
