// What a training step leaves on the device instead of asking the host: means of losses, verdicts, pixels.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/loss_mean.h"
#include "kernels/pixels.h"
#include "kernels/step_control.h"
#include "support/device_test.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

struct DeviceScalarsTest : DeviceTest {
  Tensor on_device(const std::vector<float>& values) const {
    return Tensor::from(values, {static_cast<int>(values.size())}, GetParam());
  }
};

TEST_P(DeviceScalarsTest, AMeanCountsWhatItsRowsWeigh) {
  constexpr int kIgnored = 9;
  const std::vector<float> weights = {0.5f, 2, 0.25f};
  for (const int rows : {1, 37, 8192, 20011})
    for (const bool weighted : {false, true})
      for (const double added : {0.0, 0.75}) {
        SCOPED_TRACE(str(rows, " rows, weighted ", weighted, ", added ", added));
        const Tensor losses = random_tensor({rows}, GetParam(), 1);
        std::vector<int32_t> labels(static_cast<size_t>(rows));
        double sum = 0, count = added;
        for (int i = 0; i < rows; ++i) {
          labels[i] = i % 5 == 4 ? kIgnored : i % 3;
          if (labels[i] != kIgnored) count += weighted ? double{weights[labels[i]]} : 1.0;
        }
        for (const float loss : losses.to_vector()) sum += loss;
        const Tensor there = Tensor::from(labels, {rows}, GetParam()), classes = on_device(weights);
        const Tensor loss({1}, GetParam()), factor({1}, GetParam());
        kernels::loss_mean(
            GetParam(), rows, losses.f32(),
            {.labels = there.s32(), .ignored_label = kIgnored, .weights = weighted ? classes.f32() : nullptr},
            added, loss.f32(), factor.f32());
        EXPECT_NEAR(loss.item(), sum / count, 1e-6 * std::abs(sum / count));
        EXPECT_NEAR(factor.item(), 1 / count, 1e-6 / count);
      }
}

TEST_P(DeviceScalarsTest, AMeanOfNothingIsZero) {
  const Tensor losses = on_device({3, 4}), loss({1}, GetParam()), factor({1}, GetParam());
  const Tensor labels = Tensor::from(std::vector<int32_t>{7, 7}, {2}, GetParam());
  kernels::loss_mean(GetParam(), 2, losses.f32(), {.labels = labels.s32(), .ignored_label = 7}, 0, loss.f32(),
                     factor.f32());
  EXPECT_EQ(loss.item(), 0);
  EXPECT_EQ(factor.item(), 0);
  kernels::loss_mean(GetParam(), 2, losses.f32(), {}, 2, loss.f32(), factor.f32());
  EXPECT_EQ(loss.item(), 3.5f) << "the count alone";
}

TEST_P(DeviceScalarsTest, AStepIsJudgedByLossGradientsAndStatistics) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const Tensor losses = on_device({2, 3});
  const auto judged = [&](double gradients, double statistics, double clip, double share = 0.25) {
    // Two doubles where the device reads them.
    const double squares[] = {gradients, statistics};
    const Tensor there({4}, GetParam());
    kernels::copy(GetParam(), there.data(), Device::kCpu, squares, sizeof squares);
    const auto* on = static_cast<const double*>(there.data());
    kernels::SharedControl control(GetParam());
    control.host().clip = clip;
    control.send();
    kernels::judge_step(GetParam(),
                        {.losses = {{losses.f32(), share}, {losses.f32() + 1, 0.5}},
                         .gradient_squares = on,
                         .statistic_squares = on + 1},
                        control.on_device());
    if (clip > 0) control.ask();  // or not
    control.fetch();
    return control.host();
  };
  const kernels::StepControl fine = judged(16, 5, 0);
  EXPECT_EQ(fine.loss, 2);
  EXPECT_EQ(fine.gradient_norm, 4);
  EXPECT_EQ(fine.gradient_scale, 1);
  EXPECT_TRUE(fine.finite);
  EXPECT_EQ(judged(16, 5, 4).gradient_scale, 1) << "as long as the clip";
  EXPECT_EQ(judged(16, 5, 1).gradient_scale, 0.25f);
  EXPECT_FALSE(judged(kInfinity, 5, 1).finite);
  EXPECT_FALSE(judged(16, NAN, 1).finite);
  EXPECT_FALSE(judged(16, 5, 1, kInfinity).finite);
}

TEST_P(DeviceScalarsTest, PixelsAreScaledAsOnTheHostToTheBit) {
  constexpr int kPixels = 101;  // no multiple of what the CPU takes at once
  const kernels::PixelScale scale = {{0.017f, 0.0171f, 0.0175f}, {-2.1f, -2.03f, -1.8f}};
  const Tensor bytes({kPixels, 3}, Device::kCpu, DType::kU8);
  for (int i = 0; i < kPixels * 3; ++i) bytes.u8()[i] = static_cast<uint8_t>(i * 7);
  const Tensor there = bytes.to(GetParam()), scaled({kPixels, 3}, GetParam());
  kernels::scale_pixels(GetParam(), kPixels, there.u8(), scale, scaled.f32());
  const std::vector<float> got = scaled.to_vector();
  for (int i = 0; i < kPixels * 3; ++i)
    ASSERT_EQ(got[i], std::fma(static_cast<float>(bytes.u8()[i]), scale.scale[i % 3], scale.shift[i % 3]))
        << i;
}

ESPALIER_TEST_ON_EVERY_DEVICE(DeviceScalarsTest);

}  // namespace
}  // namespace espalier::test
