// INT8 of pictures that leave little to measure, or too much.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/interrupt.h"
#include "compress/calibrate.h"
#include "compress/fixed_batches.h"
#include "compress/rounding.h"
#include "nn/layers.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

/// Two layers of 1 x 1, nothing in between.
Graph two_layers() {
  return build_graph(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor y = conv2d(x, s.param("first/w", {8, 1, 1, 6}, he_normal),
                                {.bias = s.param("first/bias", {8}, zeros)});
        return {conv2d(y, s.param("second/w", {5, 1, 1, 8}, he_normal),
                       {.bias = s.param("second/bias", {5}, zeros)})};
      },
      40, 40, 6, 1);
}

/// What INT8 is off by on one picture without outliers, as a share of the largest output.
double error_of(const Graph& int8, const Graph& fp32) {
  const NoGrad no_grad;
  const Tensor sound = random_tensor({1, 40, 40, 6}, Device::kCpu, 9);
  const std::vector<float> want = fp32.run({sound})[0].to_vector(), got = int8.run({sound})[0].to_vector();
  double most = 0, worst = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    most = std::max(most, std::abs(double{want[i]}));
    worst = std::max(worst, std::isfinite(got[i]) ? std::abs(double{got[i]} - want[i]) : 1e30);
  }
  return worst / most;
}

FixedBatches with_outlier(float value) {
  FixedBatches source;
  source.images = {random_tensor({8, 40, 40, 6}, Device::kCpu, 2)};
  source.images[0].f32()[100] = value;
  return source;
}

TEST(BrokenInputs, AnOutlierMovesNeitherRangesNorBiases) {
  const Graph g = two_layers();
  FixedBatches plain = with_outlier(1);
  const double usual = error_of(quantize_model(g, plain), g);
  EXPECT_LT(usual, 0.1);
  for (const float value : {1e6f, 1e30f, -1e30f})
    for (const char* calibrator : {"kl", "mse", "percentile"}) {
      FixedBatches source = with_outlier(value);
      const Graph int8 = quantize_model(g, source, {.calibrator = calibrator});
      EXPECT_LT(error_of(int8, g), 2 * usual) << calibrator << ", " << value;
    }
}

TEST(BrokenInputs, RoundingStaysNearestWhereInputsCannotBeSquared) {
  const Graph g = prepare_for_quantization(two_layers());
  FixedBatches source = with_outlier(1e30f);
  std::map<std::string, RoundedLayer> report;
  const auto rounding = choose_rounding(g, source, {.rows_per_image = 1600}, &report);
  for (const auto& [name, shifts] : rounding) {
    for (int64_t i = 0; i < shifts.elements(); ++i) EXPECT_EQ(shifts.s8()[i], 0) << name;
    EXPECT_TRUE(std::isfinite(report.at(name).error_before)) << name;
    EXPECT_EQ(report.at(name).moved, 0) << name;
  }
}

TEST(BrokenInputs, OneConstantPictureIsCalibratedOn) {
  const Graph g = two_layers();
  for (const float shade : {0.0f, 0.25f, -1e-20f})
    for (const CalibratorEntry& calibrator : calibrator_table()) {
      FixedBatches source;
      source.images = {Tensor::full({1, 40, 40, 6}, shade)};
      QuantizeReport report;
      const Graph int8 = quantize_model(g, source, {.calibrator = calibrator.name}, {}, &report);
      for (const auto& [name, range] : report.ranges)
        EXPECT_TRUE(range > 0 && std::isfinite(range)) << calibrator.name << ' ' << name << ' ' << range;
      const NoGrad no_grad;
      const std::vector<float> want = g.run(source.images)[0].to_vector(),
                               got = int8.run(source.images)[0].to_vector();
      double most = 0;
      for (const float v : want) most = std::max(most, std::abs(double{v}));
      for (size_t i = 0; i < want.size(); ++i)
        ASSERT_LE(std::abs(want[i] - got[i]), 0.03 * most) << calibrator.name << ", " << shade;
    }
}

TEST(BrokenInputs, CtrlCEndsACalibration) {
  FixedBatches source = with_outlier(1);
  request_interrupt();
  EXPECT_THROW(observe(prepare_for_quantization(two_layers()), source), Interrupted);
  request_interrupt(false);
}

}  // namespace
}  // namespace espalier::test
