// The segmentation task against plain computations, with masks of other sizes than the network's picture.

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/random.h"
#include "ops/autograd.h"
#include "support/expect_close.h"
#include "support/messages.h"
#include "support/random_tensor.h"
#include "tasks/confusion.h"
#include "tasks/task.h"
#include "tasks/tiles.h"

namespace espalier {
namespace {

using test::expect_says;
using test::message_of;

Mask random_mask(int width, int height, int classes, uint64_t seed, bool ignored = true) {
  Random random(seed, Purpose::kTest);
  Mask mask{width, height, {}};
  for (int i = 0; i < width * height; ++i)
    mask.classes.push_back(ignored && random.flip(0.1) ? Mask::kIgnored
                                                       : static_cast<uint8_t>(random.below(classes)));
  return mask;
}

Annotation annotation(Mask mask, PixelMap map = {}) {
  const int width = mask.width, height = mask.height;
  return {width, height, {}, std::move(mask), map};
}

Batch batch_of(std::vector<Annotation> annotations) {
  Batch batch;
  for (size_t i = 0; i < annotations.size(); ++i) batch.names.push_back(str("folder/", i, ".jpg"));
  batch.annotations = std::move(annotations);
  return batch;
}

/// Logits whose largest is the mask's class; ignored pixels get class 0.
Tensor logits_of(const Mask& mask, int classes) {
  const Tensor x = Tensor::zeros({1, mask.height, mask.width, classes});
  for (size_t i = 0; i < mask.classes.size(); ++i)
    x.f32()[i * classes + (mask.classes[i] == Mask::kIgnored ? 0 : mask.classes[i])] = 1;
  return x;
}

TEST(ConfusionTest, MatchesAPlainCount) {
  constexpr int K = 4;
  Confusion confusion(K);
  std::vector<std::vector<int64_t>> want(K, std::vector<int64_t>(K));
  for (uint64_t i = 0; i < 3; ++i) {
    const Mask labels = random_mask(7, 5, K, i), found = random_mask(7, 5, K, 10 + i, false);
    confusion.add(labels.classes, found.classes);
    for (size_t p = 0; p < labels.classes.size(); ++p)
      if (labels.classes[p] != Mask::kIgnored) ++want[labels.classes[p]][found.classes[p]];
  }
  double sum = 0, right = 0, all = 0, chance = 0;
  for (int k = 0; k < K; ++k)
    for (int other = 0; other < K; ++other) {
      EXPECT_EQ(confusion.at(k, other), want[k][other]);
      all += static_cast<double>(want[k][other]);
    }
  for (int k = 0; k < K; ++k) {
    double row = 0, column = 0;
    for (int other = 0; other < K; ++other) {
      row += static_cast<double>(want[k][other]);
      column += static_cast<double>(want[other][k]);
    }
    const double hit = static_cast<double>(want[k][k]);
    EXPECT_DOUBLE_EQ(confusion.iou(k), hit / (row + column - hit));
    EXPECT_DOUBLE_EQ(confusion.recall(k), hit / row);
    EXPECT_DOUBLE_EQ(confusion.precision(k), hit / column);
    EXPECT_DOUBLE_EQ(confusion.f1(k), 2 * hit / (row + column));
    sum += hit / (row + column - hit);
    right += hit;
    chance += row / all * column / all;
  }
  EXPECT_EQ(confusion.pixels(), static_cast<int64_t>(all));
  EXPECT_DOUBLE_EQ(confusion.mean_iou(), sum / K);
  EXPECT_DOUBLE_EQ(confusion.accuracy(), right / all);
  EXPECT_NEAR(confusion.kappa(), (right / all - chance) / (1 - chance), 1e-12);
  const auto [low, high] = confusion.mean_iou_interval();
  EXPECT_LE(low, confusion.mean_iou());
  EXPECT_GE(high, confusion.mean_iou());
  EXPECT_LT(low, high);
}

TEST(ConfusionTest, AnAbsentClassCountsForTheReferenceOnly) {
  const std::vector<uint8_t> labels = {0, 0, 1, 1}, found = {0, 1, 1, 1};
  for (const auto& [compat, want] : {std::pair{false, (0.5 + 2.0 / 3) / 2}, {true, (0.5 + 2.0 / 3) / 3}}) {
    Confusion confusion(3, compat);
    confusion.add(labels, found);
    EXPECT_DOUBLE_EQ(confusion.mean_iou(), want);
    EXPECT_TRUE(std::isnan(confusion.iou(2)));
    EXPECT_TRUE(std::isnan(confusion.precision(2)));
  }
}

TEST(SegmentationTest, MeasuresAtTheSizeOfTheFile) {
  // The network saw the picture stretched to 6 x 4, at the left of a padded 8 x 8, and flipped.
  const auto task = make_task("segmentation", 3, {{"paddlex_compat", true}});
  const Mask seen = random_mask(8, 8, 3, 1, false);
  for (const PixelMap& map :
       {PixelMap{0.5, 0.25, 0, 0}, PixelMap{-0.5, 0.25, 6, 0}, PixelMap{0.5, 0.25, 1, 3}}) {
    Mask file{12, 16, {}};
    for (int y = 0; y < 16; ++y)
      for (int x = 0; x < 12; ++x) {
        const int u = static_cast<int>(std::floor(map.scale_x * (x + 0.5) + map.offset_x)),
                  v = static_cast<int>(std::floor(map.scale_y * (y + 0.5) + map.offset_y));
        file.classes.push_back(seen.classes[v * 8 + u]);
      }
    const auto metric = task->metric();
    metric->update({logits_of(seen, 3)}, batch_of({annotation(file, map)}));
    EXPECT_EQ(metric->result().value, 1);
    EXPECT_EQ(task->decode({logits_of(seen, 3)}, 0, annotation(file, map)).mask.classes, file.classes);
    file.classes[0] = static_cast<uint8_t>((file.classes[0] + 1) % 3);
    metric->update({logits_of(seen, 3)}, batch_of({annotation(file, map)}));
    const MetricResult r = metric->result();
    EXPECT_DOUBLE_EQ(r.details->at("accuracy").get<double>(), 1 - 1 / 384.0);
    EXPECT_EQ(r.samples, 2);
    EXPECT_EQ(r.name, "miou");
  }
}

TEST(SegmentationTest, EdgesLieBetweenTheNetworksPixels) {
  // A single logit falls along x and rises along y: the edge is a straight line, in the file four times as
  // fine. The second map is flipped and lies within a larger picture.
  const auto task = make_task("segmentation", 2, {{"losses", Json::array({"bce"})}});
  const auto value = [](double x, double y) { return 3.3 - x + 0.5 * y; };
  const Tensor logits = Tensor::zeros({1, 6, 8, 1});
  for (int i = 0; i < 48; ++i) logits.f32()[i] = static_cast<float>(value(i % 8, i / 8));
  for (const PixelMap& map : {PixelMap{0.25, 0.25, 0, 0}, PixelMap{-0.25, 0.25, 7.5, 1.25}}) {
    const Mask mask = task->decode({logits}, 0, {24, 16, {}, {}, map}).mask;
    for (int y = 0; y < 16; ++y)
      for (int x = 0; x < 24; ++x) {
        const double u = std::clamp(map.scale_x * (x + 0.5) + map.offset_x - 0.5, 0.0, 7.0),
                     v = std::clamp(map.scale_y * (y + 0.5) + map.offset_y - 0.5, 0.0, 5.0);
        EXPECT_EQ(mask.classes[y * 24 + x], value(u, v) > 0) << x << ' ' << y;
      }
  }
}

TEST(SegmentationTest, WhatTheNetworkDidNotSeeIsItsNearestPixel) {
  const auto task = make_task("segmentation", 2, {});
  // Only the middle 2 of 4 columns were seen.
  const Mask seen{2, 1, {1, 0}};
  const Mask mask = task->decode({logits_of(seen, 2)}, 0, {4, 1, {}, {}, {1, 1, -1, 0}}).mask;
  EXPECT_EQ(mask.classes, (std::vector<uint8_t>{1, 1, 0, 0}));
}

TEST(SegmentationTest, LossIsTheReferences) {
  constexpr int K = 3;
  const Tensor x = test::random_tensor({2, 4, 5, K});
  std::vector<int32_t> labels;
  for (int i = 0; i < 40; ++i) labels.push_back(i % 7 == 3 ? 255 : i * i % K);
  Batch batch;
  batch.targets = {Tensor::from(labels, {2, 4, 5})};
  const std::vector<double> given = {1, 2, 0.5};
  std::vector<double> dynamic(K);
  double dynamic_sum = 0;
  for (int k = 0; k < K; ++k) {
    dynamic[k] = 1.0 / (1 + static_cast<double>(std::count(labels.begin(), labels.end(), k)));
    dynamic_sum += dynamic[k];
  }
  for (double& w : dynamic) w *= K / dynamic_sum;
  const auto want = [&](const std::vector<double>& weights) {
    double sum = 0, valid = 0;
    for (int i = 0; i < 40; ++i) {
      if (labels[i] == 255) continue;
      double total = 0;
      for (int k = 0; k < K; ++k) total += std::exp(x.f32()[i * K + k]);
      sum += weights[labels[i]] * (std::log(total) - x.f32()[i * K + labels[i]]);
      ++valid;
    }
    return sum / 40 / (valid / 40 + 1e-5);
  };
  const auto loss = [&](const Json& options) {
    return make_task("segmentation", K, options)->loss({x}, batch).item();
  };
  EXPECT_NEAR(loss({}), want({1, 1, 1}), 1e-6);
  EXPECT_NEAR(loss({{"class_weights", given}}), want(given), 1e-6);
  EXPECT_NEAR(loss({{"class_weights", "dynamic"}}), want(dynamic), 1e-6);
}

TEST(SegmentationTest, DiceAndBinaryCrossEntropyAddUp) {
  const Tensor x = test::random_tensor({2, 3, 4, 1});
  std::vector<int32_t> labels;
  for (int i = 0; i < 24; ++i) labels.push_back(i % 5 == 4 ? 255 : i % 3 == 0);
  Batch batch;
  batch.targets = {Tensor::from(labels, {2, 3, 4})};
  const auto loss = [&](const Json& losses) {
    return make_task("segmentation", 2, {{"losses", losses}})->loss({x}, batch).item();
  };
  const float dice = loss({"dice"}), bce = loss({"bce"});
  EXPECT_NEAR(loss({"dice", "bce"}), dice + bce, 1e-6);
  // Of a single logit the sign decides.
  const Tensor two = Tensor::from(std::vector<float>{-1, 2}, {1, 1, 2, 1});
  const auto task = make_task("segmentation", 2, {{"losses", {"dice"}}});
  EXPECT_EQ(task->decode({two}, 0, {2, 1, {}, {}, {}}).mask.classes, (std::vector<uint8_t>{0, 1}));
}

TEST(SegmentationTest, DescribesSharesOfThePicture) {
  const auto task = make_task("segmentation", 3, {});
  Prediction prediction;
  prediction.mask = {2, 2, {0, 2, 0, 0}};
  const Json list = task->describe(prediction, {"ground", "tree", "sky"});
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].at("share"), 0.75);
  EXPECT_EQ(list[1].at("category"), "sky");
}

TEST(SegmentationTest, WhatCannotBeMeasuredIsAnError) {
  const auto task = make_task("segmentation", 2, {});
  const Mask good = random_mask(4, 3, 2, 1);
  const Tensor x = logits_of(good, 2);
  const auto complaint = [&](const Tensor& logits, const Batch& batch) {
    return message_of([&] { task->metric()->update({logits}, batch); });
  };
  EXPECT_EQ(complaint(x, batch_of({annotation(good)})), "");
  expect_says(complaint(x, batch_of({})), "0 masks for 1 images");
  expect_says(complaint(x, batch_of({{4, 3, {}, {}, {}}})), "folder/0.jpg: there is no mask");
  Annotation other = annotation(good);
  other.width = 5;
  expect_says(complaint(x, batch_of({other})), "its mask is 4x3, the picture 5x3");
  Mask wild = good;
  wild.classes[3] = 2;
  expect_says(complaint(x, batch_of({annotation(wild)})),
              "its mask has class 2, the network has classes 0 .. 1");
  expect_says(complaint(logits_of(good, 3), batch_of({annotation(good)})), "[N,H,W,2] is needed");
  const Tensor broken = x.clone();
  broken.f32()[5] = INFINITY;
  expect_says(complaint(broken, batch_of({annotation(good)})), "folder/0.jpg: the network's output");
  expect_says(message_of([&] { task->metric()->result(); }), "no image was measured");
  const auto metric = task->metric();
  metric->update({x}, batch_of({annotation({4, 3, std::vector<uint8_t>(12, Mask::kIgnored)})}));
  expect_says(message_of([&] { metric->result(); }), "all pixels of all 1 masks are ignored");
}

TEST(SegmentationTest, OptionsAreStrict) {
  const auto complaint = [](const Json& options, int classes = 2) {
    return message_of([&] { make_task("segmentation", classes, options); });
  };
  EXPECT_EQ(complaint({{"losses", {"dice", "bce"}}, {"paddlex_compat", true}}), "");
  expect_says(complaint({{"loss", "dice"}}), "did you mean 'losses'");
  expect_says(complaint({{"losses", "dice"}}), "a list of cross_entropy, dice and bce is needed");
  expect_says(complaint({{"losses", {"dise"}}}), "a list of cross_entropy, dice and bce is needed");
  expect_says(complaint({{"losses", Json::array()}}), "a list of cross_entropy, dice and bce is needed");
  expect_says(complaint({{"losses", {"dice", "cross_entropy"}}}), "take one side");
  expect_says(complaint({{"losses", {"bce"}}}, 3), "for 2 classes, and there are 3");
  expect_says(complaint({{"class_weights", "balanced"}}), "expected a list, or dynamic");
  expect_says(complaint({{"class_weights", {1, 2, 3}}}), "a list of 2 numbers");
  expect_says(complaint({{"class_weights", "dynamic"}, {"losses", {"bce"}}}), "dice and bce take none");
  expect_says(complaint({{"paddlex_compat", 1}}), "it must be true or false");
  expect_says(complaint({}, 1), "it must lie in 2 .. 255");
}

TEST(TilesTest, PutTogetherWhatTheWindowsShow) {
  // A prediction that depends on one pixel alone must not depend on the tiles.
  Image image(37, 23);
  Random random(1, Purpose::kTest);
  for (uint8_t& v : image.pixels) v = static_cast<uint8_t>(random.below(256));
  const auto green = [](const Image& window) {
    Mask mask{window.width, window.height, {}};
    for (int i = 0; i < window.width * window.height; ++i) mask.classes.push_back(window.pixels[i * 3 + 1]);
    return mask;
  };
  for (const TileOptions& o :
       {TileOptions{8, 3}, TileOptions{37, 0}, TileOptions{5, 40}, TileOptions{64, 8}}) {
    int windows = 0;
    const Mask mask = predict_tiled(image, o, [&](const Image& window) {
      EXPECT_EQ(window.width, o.tile + 2 * o.pad);
      ++windows;
      return green(window);
    });
    EXPECT_EQ(mask.classes, green(image).classes) << o.tile << " with " << o.pad;
    EXPECT_EQ(windows, ((36 / o.tile) + 1) * ((22 / o.tile) + 1));
  }
}

TEST(TilesTest, BeyondThePictureIsItsMirrorImage) {
  Image image(3, 1);
  for (int x = 0; x < 3; ++x) image.at(x, 0)[0] = static_cast<uint8_t>(x);
  predict_tiled(image, {3, 3}, [](const Image& window) {
    const int want[] = {1, 2, 1, 0, 1, 2, 1, 0, 1};
    for (int x = 0; x < 9; ++x) EXPECT_EQ(window.at(x, 4)[0], want[x]) << x;
    return Mask{9, 9, std::vector<uint8_t>(81)};
  });
  expect_says(message_of([&] { predict_tiled(image, {0, 3}, {}); }), "say at least 1 and 0");
}

TEST(SegmentationTest, LooksAtLabelsBeforeAGpuDoes) {
  const auto task = make_task("segmentation", 3, {});
  Batch batch;
  batch.targets = {Tensor::from(std::vector<int32_t>{0, 2, Mask::kIgnored, 1}, {1, 2, 2})};
  EXPECT_TRUE(task->checked_targets(batch).at(0).same(batch.targets[0]));
  batch.targets[0].s32()[3] = 3;
  expect_says(message_of([&] { task->checked_targets(batch); }),
              "the label of row 3 is 3; it must lie in 0 .. 2");
}

}  // namespace
}  // namespace espalier
