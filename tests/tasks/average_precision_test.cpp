// Average precision against cases computed by hand, and against pycocotools where it is installed.

#include "tasks/average_precision.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/random.h"
#include "support/shared.h"
#include "support/temporary_directory.h"

namespace espalier {
namespace {

using Boxes = std::vector<ObjectBox>;

ObjectBox box(float x, int label, float score = 1) { return {x, 0, x + 10, 10, label, score}; }

ObjectBox difficult(ObjectBox b) {
  b.difficult = true;
  return b;
}

ObjectBox crowd(ObjectBox b) {
  b.crowd = true;
  return b;
}

/// Two pictures, three objects. In the order of scores: right, wrong, right, a second hit on one, right.
AveragePrecision three_objects(MapRule rule) {
  AveragePrecision ap(1, rule);
  ap.add(Boxes{box(0, 0, 0.9f), box(50, 0, 0.8f), box(101, 0, 0.7f)}, Boxes{box(0, 0), box(100, 0)});
  ap.add(Boxes{box(2, 0, 0.6f), box(0, 0, 0.65f)}, Boxes{box(0, 0)});
  return ap;
}

TEST(AveragePrecisionTest, MatchesHandComputedCurves) {
  // Precision 1, 1/2, 2/3, 3/4, 3/5 at recall 1/3, 1/3, 2/3, 1, 1; envelope 1 to 1/3, then 3/4.
  EXPECT_DOUBLE_EQ(three_objects(MapRule::kVoc11).mean(), (4 * 1 + 7 * 0.75) / 11);
  EXPECT_DOUBLE_EQ(three_objects(MapRule::kArea).mean(), 1.0 / 3 + 0.75 * 2 / 3);
  const PrecisionCurve curve = three_objects(MapRule::kArea).curve(0);
  ASSERT_EQ(curve.recall.size(), 5u);
  EXPECT_DOUBLE_EQ(curve.recall[2], 2.0 / 3);
  EXPECT_DOUBLE_EQ(curve.precision[3], 0.75);
  EXPECT_FLOAT_EQ(static_cast<float>(curve.score[3]), 0.65f);
}

TEST(AveragePrecisionTest, CocoThresholdsByHand) {
  // Shifted by 1 of 10: IoU 9/11 = 0.818, right up to 0.80: 7 of 10 thresholds.
  AveragePrecision ap(1, MapRule::kCoco);
  ap.add(Boxes{box(1, 0, 0.5f)}, Boxes{box(0, 0)});
  EXPECT_DOUBLE_EQ(ap.mean(), 0.7);
  EXPECT_DOUBLE_EQ(ap.mean_at(0.5), 1);
  EXPECT_DOUBLE_EQ(ap.mean_at(0.8), 1);
  EXPECT_DOUBLE_EQ(ap.mean_at(0.85), 0);
}

TEST(AveragePrecisionTest, ExactlyHalfIsAHitForCocoOnly) {
  const Boxes found{{0, 0, 10, 5, 0, 1}}, objects{box(0, 0)};
  for (const auto& [rule, want] : {std::pair{MapRule::kVoc11, 0.0}, {MapRule::kCoco, 0.1}}) {
    AveragePrecision ap(1, rule);
    ap.add(found, objects);
    EXPECT_NEAR(ap.mean(), want, 1e-12);
  }
}

TEST(AveragePrecisionTest, InclusiveCornersMakeSmallBoxesOverlapMore) {
  // Between edges 2 x 2, as pixels 3 x 3.
  const auto mean = [](float shift, bool inclusive) {
    AveragePrecision ap(1, MapRule::kArea, inclusive);
    ap.add(Boxes{{shift, 0, shift + 2, 2, 0, 1}}, Boxes{{0, 0, 2, 2, 0}});
    return ap.mean();
  };
  EXPECT_EQ(mean(0.75f, false), 0) << "1.25 / 2.75";
  EXPECT_EQ(mean(0.75f, true), 1) << "2.25 / 3.75";
}

TEST(AveragePrecisionTest, DifficultAndCrowdAreNeitherHitNorMiss) {
  for (const MapRule rule : {MapRule::kVoc11, MapRule::kArea, MapRule::kCoco}) {
    AveragePrecision ap(2, rule);
    ap.add(
        Boxes{box(200, 0, 0.95f), box(301, 0, 0.94f), box(302, 0, 0.93f), box(0, 0, 0.9f), box(0, 1, 0.9f)},
        Boxes{box(0, 0), difficult(box(200, 0)), crowd({300, 0, 400, 10, 0}), difficult(box(0, 1))});
    EXPECT_EQ(ap.objects(0), 1);
    EXPECT_EQ(ap.objects(1), 0);
    EXPECT_DOUBLE_EQ(ap.of_class(0), 1);
    EXPECT_TRUE(std::isnan(ap.of_class(1)));
    EXPECT_DOUBLE_EQ(ap.mean(), 1) << "a class without objects does not count";
  }
}

TEST(AveragePrecisionTest, WithoutDetectionsItIsZeroAndWithoutObjectsNone) {
  AveragePrecision ap(2, MapRule::kVoc11);
  EXPECT_TRUE(std::isnan(ap.mean()));
  ap.add({}, Boxes{box(0, 0), box(50, 1)});
  ap.add({}, {});
  EXPECT_EQ(ap.mean(), 0);
  EXPECT_EQ(ap.interval(), (std::pair{0.0, 0.0}));
  EXPECT_TRUE(ap.curve(0).recall.empty());
}

TEST(AveragePrecisionTest, MoreThanFiftyObjectsInAPictureAllCount) {
  AveragePrecision ap(1, MapRule::kArea);
  Boxes found, objects;
  for (int i = 0; i < 90; ++i) {
    objects.push_back(box(static_cast<float>(20 * i), 0));
    found.push_back(box(static_cast<float>(20 * i), 0, 0.5f));
  }
  ap.add(found, objects);
  EXPECT_EQ(ap.objects(0), 90);
  EXPECT_DOUBLE_EQ(ap.mean(), 1);
}

TEST(AveragePrecisionTest, IntervalIsThatOfTheSpread) {
  // Half of the pictures are perfect, half have nothing: the mean of n draws spreads as a proportion does.
  AveragePrecision ap(1, MapRule::kArea);
  constexpr int kPictures = 100;
  for (int i = 0; i < kPictures; ++i) ap.add(i % 2 ? Boxes{box(0, 0, 0.9f)} : Boxes{}, Boxes{box(0, 0)});
  const auto [low, high] = ap.interval();
  EXPECT_DOUBLE_EQ(ap.mean(), 0.5);
  EXPECT_NEAR(low, 0.5 - 1.96 * std::sqrt(0.25 / kPictures), 0.025);
  EXPECT_NEAR(high, 0.5 + 1.96 * std::sqrt(0.25 / kPictures), 0.025);
  EXPECT_EQ(ap.interval(), (std::pair{low, high})) << "it is drawn from a fixed seed";
}

/// Objects, and detections that are near them, far from them, or doubled.
std::pair<Boxes, Boxes> random_picture(int classes, Random& random) {
  Boxes found, objects;
  for (int i = random.below(9); i > 0; --i) {
    const float x = static_cast<float>(random.below(300)), y = static_cast<float>(random.below(200));
    ObjectBox object{x, y, x + 20 + static_cast<float>(random.below(90)),
                     y + 20 + static_cast<float>(random.below(90)), random.below(classes)};
    object.crowd = random.flip(0.1);
    objects.push_back(object);
    for (int copies = random.below(3); copies > 0; --copies) {
      const auto move = [&](float v) { return v + static_cast<float>(random.uniform(-4, 4)); };
      ObjectBox guess{move(x),
                      move(y),
                      move(object.x1) + 8,
                      move(object.y1) + 8,
                      object.label,
                      static_cast<float>(random.below(70) + 30) / 100};
      if (random.flip(0.1)) guess.label = random.below(classes);
      found.push_back(guess);
    }
  }
  for (int i = random.below(6); i > 0; --i)
    found.push_back({static_cast<float>(random.below(300)), 0, 320, static_cast<float>(1 + random.below(200)),
                     random.below(classes), static_cast<float>(random.below(60)) / 100});
  return {found, objects};
}

Json rows(const std::vector<Boxes>& pictures) {
  Json list = Json::array();
  for (size_t i = 0; i < pictures.size(); ++i)
    for (const ObjectBox& b : pictures[i])
      list.push_back({i, b.label, b.x0, b.y0, b.width(), b.height(), b.score, b.crowd});
  return list;
}

std::string python() {
  if (const char* given = std::getenv("ESPALIER_PYTHON")) return given;
  const std::string own = test::source_path("build/python/bin/python");
  return std::filesystem::exists(own) ? own : "python3";
}

TEST(AveragePrecisionTest, EqualsPycocotools) {
  if (std::system((python() + " -c 'import pycocotools' 2> /dev/null").c_str()) != 0)
    GTEST_SKIP() << "pycocotools is not installed; name a Python that has it in ESPALIER_PYTHON";
  Random random(3, Purpose::kTest);
  constexpr int kClasses = 4, kPictures = 120;
  AveragePrecision ap(kClasses, MapRule::kCoco);
  std::vector<Boxes> found(kPictures), objects(kPictures);
  for (int i = 0; i < kPictures; ++i) {
    std::tie(found[i], objects[i]) = random_picture(kClasses, random);
    // More than 100 of a class in one picture, and a picture without a detection.
    for (int extra = 0; i == 5 && extra < 150; ++extra)
      found[i].push_back(
          {1.0f * static_cast<float>(extra), 10, 300, 200, 2, 0.005f * static_cast<float>(extra)});
    if (i == 7) found[i].clear();
    ap.add(found[i], objects[i]);
  }
  const test::TemporaryDirectory folder;
  const std::string file = (folder.path() / "boxes.json").string();
  std::ofstream(file) << Json{
      {"pictures", kPictures}, {"classes", kClasses}, {"objects", rows(objects)}, {"found", rows(found)}};
  const std::string command = python() + " " + test::source_path("tests/tasks/coco_map.py") + " " + file;
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string text;
  std::array<char, 256> part;
  while (fgets(part.data(), part.size(), pipe)) text += part.data();
  ASSERT_EQ(pclose(pipe), 0) << text;
  const Json want = Json::parse(text);
  EXPECT_NEAR(ap.mean(), want.at("map").get<double>(), 1e-6);
  EXPECT_NEAR(ap.mean_at(0.5), want.at("map50").get<double>(), 1e-6);
  EXPECT_NEAR(ap.mean_at(0.75), want.at("map75").get<double>(), 1e-6);
  for (int k = 0; k < kClasses; ++k)
    EXPECT_NEAR(ap.of_class(k), want.at("per_class").at(k).get<double>(), 1e-6) << "class " << k;
  EXPECT_GT(ap.mean(), 0.1);
  EXPECT_LT(ap.mean(), 0.9);
}

}  // namespace
}  // namespace espalier
