// Label maps and confusion matrices as a GPU makes them: the loop in the emulator, the rest on every device,
// against what the host does.

#include "kernels/label_map.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/random.h"
#include "kernels/label_pair_loops.h"
#include "support/device_test.h"
#include "support/emulated_machine.h"
#include "support/messages.h"
#include "support/random_tensor.h"
#include "tasks/pixel_map.h"
#include "tasks/task.h"

namespace espalier {
namespace {

std::vector<uint8_t> random_classes(int count, int classes, uint64_t seed) {
  Random random(seed, Purpose::kTest);
  std::vector<uint8_t> values(static_cast<size_t>(count));
  for (uint8_t& v : values) v = static_cast<uint8_t>(random.below(classes));
  return values;
}

TEST(LabelPairLoop, CountsAsAPlainLoopDoes) {
  using kernels::label_pairs::Count;
  for (const int classes : {2, 8, 9, 20})
    for (const int count : {1, 300, 9001}) {
      SCOPED_TRACE(str(classes, " classes, ", count, " pixels"));
      std::vector<uint8_t> labels = random_classes(count, classes, 1);
      const std::vector<uint8_t> predictions = random_classes(count, classes, 2);
      labels[0] = Mask::kIgnored;
      std::vector<uint32_t> got(static_cast<size_t>(classes) * 256);
      std::vector<int64_t> want(got.size());
      test::EmulatedMachine machine;
      const int64_t blocks = Count::blocks_for(count);
      machine.launch(Count{count, blocks, labels.data(), predictions.data(), classes, got.data()}, blocks,
                     Count::parts_for(classes));
      kernels::count_label_pairs(Device::kCpu, count, classes, labels.data(), predictions.data(),
                                 want.data());
      EXPECT_EQ(std::vector<int64_t>(got.begin(), got.end()), want);
    }
}

struct LabelMapTest : test::DeviceTest {
  Tensor bytes(const std::vector<uint8_t>& values) const {
    const Tensor t({static_cast<int>(values.size())}, GetParam(), DType::kU8);
    kernels::copy(GetParam(), t.data(), Device::kCpu, values.data(), values.size());
    return t;
  }
};

TEST_P(LabelMapTest, PairsAreCountedWhereTheyLie) {
  const std::vector<uint8_t> labels = random_classes(5000, 11, 1), predictions = random_classes(5000, 11, 2);
  const Tensor l = bytes(labels), p = bytes(predictions);
  std::vector<int64_t> got(11 * 256, -1), want(11 * 256);
  for (size_t i = 0; i < labels.size(); ++i) ++want[predictions[i] * 256 + labels[i]];
  kernels::count_label_pairs(GetParam(), 5000, 11, l.u8(), p.u8(), got.data());
  EXPECT_EQ(got, want);
}

TEST_P(LabelMapTest, IsTheMaskThatTheHostMakes) {
  for (const int channels : {1, 3})
    for (const bool compat : {false, true}) {
      SCOPED_TRACE(str(channels, " channels, compat ", compat));
      Json options = {{"paddlex_compat", compat}};
      if (channels == 1) options["losses"] = {"dice", "bce"};
      const auto task = make_task("segmentation", std::max(2, channels), options);
      const Tensor logits = test::random_tensor({2, 9, 7, channels}, Device::kCpu, 3);
      const Annotation picture{23, 17, {}, {}, {0.3, 0.5, 0.25, -0.5}};
      const std::vector<uint8_t> want = task->decode({logits}, 1, picture).mask.classes;
      const PixelMap& to = picture.to_network;
      const auto places = [&](int extent, double scale, double offset, int network) {
        std::vector<kernels::BetweenPixels> list;
        if (!compat) return pixels_between(extent, scale, offset, network);
        for (const int at : nearest_pixels(extent, scale, offset, network)) list.push_back({at, at, 0});
        return list;
      };
      const auto there = [&](const std::vector<kernels::BetweenPixels>& list) {
        const Tensor t({static_cast<int>(list.size()), 3}, GetParam(), DType::kS32);
        kernels::copy(GetParam(), t.data(), Device::kCpu, list.data(), list.size() * sizeof list[0]);
        return t;
      };
      const Tensor x = logits.to(GetParam()), columns = there(places(23, to.scale_x, to.offset_x, 7)),
                   rows = there(places(17, to.scale_y, to.offset_y, 9)),
                   map({17, 23}, GetParam(), DType::kU8);
      kernels::label_map(GetParam(),
                         {.logits = x.f32() + 9 * 7 * channels,
                          .W = 7,
                          .K = channels,
                          .width = 23,
                          .height = 17,
                          .columns = static_cast<const kernels::BetweenPixels*>(columns.data()),
                          .rows = static_cast<const kernels::BetweenPixels*>(rows.data())},
                         map.u8());
      const Tensor got = map.to(Device::kCpu);
      EXPECT_EQ(std::vector<uint8_t>(got.u8(), got.u8() + got.elements()), want);
      EXPECT_EQ(task->decode({x}, 1, picture).mask.classes, want);
    }
}

TEST_P(LabelMapTest, AMetricIsTheSameWhereverTheOutputsAre) {
  const auto task = make_task("segmentation", 3, {});
  const Tensor logits = test::random_tensor({2, 9, 7, 3}, Device::kCpu, 3);
  Batch batch;
  batch.names = {"a", "b"};
  for (uint64_t i = 0; i < 2; ++i) {
    Mask mask{23, 17, random_classes(23 * 17, 3, 7 + i)};
    mask.classes[5] = Mask::kIgnored;
    batch.annotations.push_back({23, 17, {}, mask, {0.3, 0.5, 0.25, -0.5}});
  }
  const auto host = task->metric(), there = task->metric();
  host->update({logits}, batch);
  there->update({logits.to(GetParam())}, batch);
  EXPECT_EQ(there->result().value, host->result().value);
  EXPECT_EQ(there->result().details->at("confusion"), host->result().details->at("confusion"));
  const Tensor broken = logits.clone();
  broken.f32()[broken.elements() - 1] = NAN;
  test::expect_says(test::message_of([&] { task->metric()->update({broken.to(GetParam())}, batch); }),
                    "b: the network's output has a value that is not finite");
}

ESPALIER_TEST_ON_EVERY_DEVICE(LabelMapTest);

}  // namespace
}  // namespace espalier
