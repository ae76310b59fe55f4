// Counts of magnitudes: the GPU's loops in the emulator, and every device, against a plain count.

#include "kernels/magnitudes.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/magnitude_loops.h"
#include "support/device_test.h"
#include "support/emulated_machine.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

using kernels::kMagnitudeBins;
using kernels::kMagnitudeOctaves;
using kernels::MagnitudeRange;

struct Counts {
  std::vector<int64_t> bins = std::vector<int64_t>(kMagnitudeBins),
                       octaves = std::vector<int64_t>(kMagnitudeOctaves);
  bool operator==(const Counts&) const = default;
};

/// Zeros, tiny and large ones among them; all below 8.
std::vector<float> values_of(int count) {
  std::vector<float> values = random_tensor({count}, Device::kCpu, 3).to_vector();
  for (int i = 0; i < count; ++i) {
    values[i] = std::fmod(values[i], 7.9f);
    if (i % 3 == 0) values[i] = 0;
    if (i % 101 == 1) values[i] *= 1e-30f;
  }
  if (count > 5) values[5] = -1e-42f;  // a denormal
  return values;
}

constexpr double kPerWidth = kMagnitudeBins / 8.0;

Counts plain(const std::vector<float>& values) {
  Counts c;
  for (const float v : values) {
    if (v == 0) continue;
    ++c.bins[static_cast<int>(std::abs(v) * kPerWidth)];
    ++c.octaves[std::bit_cast<uint32_t>(v) >> 23 & 255];
  }
  return c;
}

constexpr int kCounts[] = {1, 31, 5000, 70001};

TEST(MagnitudeLoops, CountAsAPlainLoopDoes) {
  for (const int count : kCounts)
    for (const Schedule schedule : {Schedule::kForwardLate, Schedule::kBackwardEarly}) {
      SCOPED_TRACE(count);
      const std::vector<float> values = values_of(count);
      EmulatedMachine machine{.schedule = schedule};
      const int64_t blocks = kernels::magnitudes::blocks_for(count);
      std::vector<uint32_t> counts(kernels::magnitudes::Count::kCounts), words(2);
      machine.launch(kernels::magnitudes::Count{count, blocks, values.data(), kPerWidth, counts.data()},
                     blocks, 1);
      machine.launch(kernels::magnitudes::Range{count, blocks, values.data(), words.data()}, blocks, 1);
      Counts got;
      for (int i = 0; i < kMagnitudeBins; ++i) got.bins[i] = counts[i];
      for (int i = 0; i < kMagnitudeOctaves; ++i) got.octaves[i] = counts[kMagnitudeBins + i];
      EXPECT_EQ(got, plain(values));
      const MagnitudeRange want = kernels::magnitude_range(Device::kCpu, count, values.data());
      EXPECT_EQ(std::bit_cast<float>(words[0]), want.largest);
      EXPECT_EQ(words[1], want.negative ? 1u : 0u);
    }
}

TEST(MagnitudeLoops, ShowANegativeValueWhereverItLies) {
  for (const int where : {-1, 0, 1, 17, 31, 255, 4999}) {
    SCOPED_TRACE(where);
    std::vector<float> values(6000, 1.0f);
    if (where >= 0) values[static_cast<size_t>(where)] = -0.5f;
    uint32_t words[2] = {};
    EmulatedMachine machine;
    const int64_t blocks = kernels::magnitudes::blocks_for(6000);
    machine.launch(kernels::magnitudes::Range{6000, blocks, values.data(), words}, blocks, 1);
    EXPECT_EQ(std::bit_cast<float>(words[0]), 1.0f);
    EXPECT_EQ(words[1], where >= 0 ? 1u : 0u);
  }
}

TEST(MagnitudeLoops, ShowWhatIsNotFinite) {
  for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> values(6000, 1.0f);
    values[4999] = bad;
    uint32_t words[2] = {};
    EmulatedMachine machine;
    const int64_t blocks = kernels::magnitudes::blocks_for(6000);
    machine.launch(kernels::magnitudes::Range{6000, blocks, values.data(), words}, blocks, 1);
    EXPECT_GE(words[0], kernels::magnitudes::kInfinity);
  }
}

struct MagnitudesTest : DeviceTest {};

TEST_P(MagnitudesTest, AreCountedWhereTheyLie) {
  for (const int count : kCounts) {
    SCOPED_TRACE(count);
    const std::vector<float> values = values_of(count);
    const Tensor there = Tensor::from(values, {count}, GetParam());
    Counts want = plain(values), got;
    for (int round = 0; round < 2; ++round)
      kernels::count_magnitudes(GetParam(), count, there.f32(), kPerWidth, got.bins.data(),
                                got.octaves.data());
    for (std::vector<int64_t>* counts : {&want.bins, &want.octaves})
      for (int64_t& n : *counts) n *= 2;
    EXPECT_EQ(got, want) << "they are added";
    const MagnitudeRange range = kernels::magnitude_range(GetParam(), count, there.f32());
    float largest = 0;
    bool negative = false;
    for (const float v : values) largest = std::max(largest, std::abs(v)), negative |= v < 0;
    EXPECT_EQ(range.largest, largest);
    EXPECT_EQ(range.negative, negative);
    EXPECT_TRUE(range.finite);
  }
  const Tensor bad = Tensor::from(std::vector<float>{1, NAN, 2}, {3}, GetParam());
  EXPECT_FALSE(kernels::magnitude_range(GetParam(), 3, bad.f32()).finite);
}

ESPALIER_TEST_ON_EVERY_DEVICE(MagnitudesTest);

}  // namespace
}  // namespace espalier::test
