#include "compress/calibrate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "compress/fixed_batches.h"
#include "nn/layers.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

std::vector<float> normals(int count, uint64_t seed, double outliers = 0) {
  Random random(seed, Purpose::kTest);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(random.normal() * (random.flip(outliers) ? 100 : 1));
  return values;
}

Histogram histogram_of(const std::vector<float>& values) {
  Histogram h;
  h.add(values.data(), static_cast<int64_t>(values.size()));
  return h;
}

double range(const std::string& calibrator, const Histogram& h, const CalibrateOptions& o = {}) {
  return find_calibrator(calibrator).range(h, o);
}

TEST(Histogram, DoesNotDependOnHowValuesWereBatched) {
  std::vector<float> values = normals(20000, 1, 0.001);
  values.push_back(256.0f);  // a power of two lies on a border
  values.push_back(0);
  const Histogram whole = histogram_of(values);
  for (size_t step : {1u, 7u, 1000u}) {
    Histogram parts;
    for (size_t i = 0; i < values.size(); i += step)
      parts.add(values.data() + i, static_cast<int64_t>(std::min(step, values.size() - i)));
    EXPECT_EQ(parts.bins(), whole.bins());
    EXPECT_EQ(parts.width(), whole.width());
    EXPECT_EQ(parts.largest(), whole.largest());
    EXPECT_EQ(parts.count(), whole.count());
  }
  std::vector<float> reversed(values.rbegin(), values.rend());
  EXPECT_EQ(histogram_of(reversed).bins(), whole.bins());
}

TEST(Histogram, CountsMagnitudesOfEverythingButZero) {
  const Histogram h = histogram_of({-1, 1, 0, 0, 0.5f, -0.25f});
  int64_t sum = 0;
  for (int64_t n : h.bins()) sum += n;
  EXPECT_EQ(sum, 4);
  EXPECT_EQ(h.count(), 6);
  EXPECT_EQ(h.largest(), 1);
  EXPECT_EQ(h.bins()[Histogram::kBins / 2], 2) << "the range is the power of two above the largest";
}

TEST(Histogram, RefusesWhatIsNotANumber) {
  Histogram h;
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::vector<float> values = {1, bad, 2};
    EXPECT_THROW(h.add(values.data(), 3), Error);
  }
}

TEST(Histogram, TakesHugeAndTinyValuesTogether) {
  const Histogram h = histogram_of({1e-30f, 1e30f, 3.0f});
  EXPECT_EQ(h.largest(), 1e30f);
  EXPECT_EQ(h.bins()[0], 2);
}

TEST(Calibrators, MinMaxTakesTheLargest) { EXPECT_FLOAT_EQ(range("min_max", histogram_of({-7, 3, 1})), 7); }

TEST(Calibrators, PercentileLeavesItsShareOut) {
  std::vector<float> values;
  for (int i = 1; i <= 10000; ++i) values.push_back(static_cast<float>(i) / 10000);
  EXPECT_NEAR(range("percentile", histogram_of(values), {.percentile = 99}), 0.99, 0.002);
  EXPECT_NEAR(range("percentile", histogram_of(values), {.percentile = 100}), 1.0, 1e-6);
  EXPECT_THROW(range("percentile", histogram_of(values), {.percentile = 0}), Error);
}

TEST(Calibrators, KlKeepsAUniformDistributionWhole) {
  std::vector<float> values;
  for (int i = 1; i < 200000; ++i) values.push_back(static_cast<float>(i) / 200000);
  EXPECT_GT(range("kl", histogram_of(values)), 0.95);
}

TEST(Calibrators, KlClipsRareOutliers) {
  const Histogram h = histogram_of(normals(200000, 3, 0.0001));
  EXPECT_GT(h.largest(), 100) << "the case has outliers";
  EXPECT_LT(range("kl", h), 60);
  EXPECT_GT(range("kl", h), 2.5);
}

TEST(Calibrators, KlCountsTheCodesThereAre) {
  // Codes without sign are twice as fine, so more of the tail is worth keeping.
  std::vector<float> values = normals(200000, 5), magnitudes = values;
  for (float& v : magnitudes) v = std::abs(v * v * v);
  for (size_t i = 0; i < values.size(); ++i) values[i] = values[i] < 0 ? -magnitudes[i] : magnitudes[i];
  const Histogram with_sign = histogram_of(values), without = histogram_of(magnitudes);
  ASSERT_EQ(with_sign.bins(), without.bins());
  EXPECT_TRUE(with_sign.negative());
  EXPECT_FALSE(without.negative());
  EXPECT_GT(range("kl", without), 1.2 * range("kl", with_sign));
  EXPECT_EQ(range("min_max", without), range("min_max", with_sign));
}

TEST(Calibrators, KlKeepsMostOfANormalDistribution) {
  const Histogram h = histogram_of(normals(200000, 4));
  EXPECT_GT(range("kl", h), 2.5);
  EXPECT_LE(range("kl", h), h.largest() * 1.01);
}

TEST(Calibrators, TheReferencesVariantSearchesTheUpperPartOnly) {
  const Histogram h = histogram_of(normals(200000, 3, 0.0001));
  EXPECT_GE(range("kl", h, {.paddlex_compat = true}), 0.69 * h.largest());
}

/// The reference's search as its description has it: 2048 bins up to the largest of the values, zeros among
/// them, candidates from 0.7 of them on, 255 levels of equally many bins but for the last.
double reference_range(const std::vector<float>& values) {
  constexpr int kBins = 2048, kLevels = 255;
  const double width = *std::max_element(values.begin(), values.end()) / kBins;
  std::vector<double> bins(kBins);
  for (const float v : values) ++bins[std::min(kBins - 1, static_cast<int>(v / width))];
  double least = std::numeric_limits<double>::infinity(), best = 0;
  for (int i = (kBins - 1) * 7 / 10; i < kBins; ++i) {
    if (bins[i - 1] == 0) continue;
    std::vector<double> p(bins.begin(), bins.begin() + i), q(i);
    p[i - 1] = std::accumulate(bins.begin() + i - 1, bins.end(), 0.0);
    for (int level = 0; level < kLevels; ++level) {
      const int first = level * (i / kLevels), last = level + 1 < kLevels ? first + i / kLevels : i;
      const double sum = std::accumulate(bins.begin() + first, bins.begin() + last, 0.0);
      const auto filled =
          std::count_if(bins.begin() + first, bins.begin() + last, [](double n) { return n > 0; });
      for (int k = first; k < last; ++k) q[k] = bins[k] > 0 ? sum / static_cast<double>(filled) : 0;
    }
    const double p_sum = std::accumulate(p.begin(), p.end(), 0.0),
                 q_sum = std::accumulate(q.begin(), q.end(), 0.0);
    double loss = 0;
    for (int k = 0; k < i; ++k)
      if (p[k] > 0) loss += p[k] / p_sum * std::log(p[k] / p_sum * q_sum / q[k]);
    if (loss < least) least = loss, best = (i + 0.5) * width;
  }
  return best;
}

TEST(Calibrators, TheReferencesVariantCountsZeros) {
  std::vector<float> values = normals(20000, 5);
  for (float& v : values) v = std::max(v, 0.0f);
  const double want = reference_range(values),
               got = range("kl", histogram_of(values), {.paddlex_compat = true});
  EXPECT_NEAR(got, want, 0.1 * want) << "bins are up to twice as wide";
}

TEST(Calibrators, MseFindsTheLeastError) {
  const std::vector<float> values = normals(100000, 3, 0.0001);
  const Histogram h = histogram_of(values);
  const auto error = [&](double range) {
    const double step = range / 127;
    double sum = 0;
    for (const float v : values) {
      const double coded = step * std::clamp(std::nearbyint(v / step), -127.0, 127.0);
      sum += (v - coded) * (v - coded);
    }
    return sum;
  };
  const double chosen = range("mse", h), least = error(chosen);
  for (double other = 2; other < 1.1 * h.largest(); other *= 1.05)
    EXPECT_LE(least, 1.02 * error(other)) << chosen << " against " << other;
  EXPECT_LT(chosen, h.largest());
}

TEST(Calibrators, OneHugeValueDoesNotTakeAllCodes) {
  std::vector<float> values = normals(50000, 6);
  values[17] = 1e30f;
  const Observed observed{{{"x", histogram_of(values)}}, {{"x", {0}}}, 1};
  for (const char* calibrator : {"kl", "mse", "percentile"}) {
    const float range = calibration_of(observed, {.calibrator = calibrator}).ranges.at("x");
    EXPECT_GT(range, 3) << calibrator;
    EXPECT_LT(range, 10) << calibrator;
  }
  EXPECT_EQ(calibration_of(observed, {.calibrator = "min_max"}).ranges.at("x"), 1e30f);
}

TEST(Calibrators, UnknownNamesAreErrors) { EXPECT_THROW(find_calibrator("magic"), Error); }

Graph network() {
  return build_graph(
      [](Scope s, const Tensor& x) {
        const Tensor y = conv_bn(s / "conv", x, 8, {.kernel = 3, .act = Activation::relu6()});
        return Tensors{fully_connected(s / "classifier", global_avg_pool(y), 4)};
      },
      9, 9, 3, 1);
}

TEST(QuantizeModel, CalibratesConvertsAndReports) {
  FixedBatches source;
  for (uint64_t seed : {1, 2, 3}) source.images.push_back(random_tensor({2, 9, 9, 3}, Device::kCpu, seed));
  for (const char* calibrator : {"kl", "mse", "min_max", "percentile"}) {
    QuantizeReport report;
    const Graph g = network(), int8 = quantize_model(g, source, {.calibrator = calibrator}, {}, &report);
    EXPECT_EQ(report.quantized, 3);
    EXPECT_TRUE(report.fp32.empty());
    EXPECT_EQ(report.images, 6);
    EXPECT_GT(report.ranges.at("image"), 2);
    const NoGrad no_grad;
    const std::vector<float> got = int8.run({source.images[0]})[0].to_vector(),
                             want = g.run({source.images[0]})[0].to_vector();
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 0.05);
  }
}

TEST(QuantizeModel, RangesDoNotDependOnTheBatchSize) {
  FixedBatches ones, four;
  Tensor all({4, 9, 9, 3});
  for (uint64_t i = 0; i < 4; ++i) {
    ones.images.push_back(random_tensor({1, 9, 9, 3}, Device::kCpu, i));
    std::copy_n(ones.images[i].f32(), 243, all.f32() + i * 243);
  }
  four.images = {all};
  const Graph prepared = prepare_for_quantization(network());
  const auto a = calibrate(prepared, ones), b = calibrate(prepared, four);
  for (const auto& [name, value] : a.ranges) EXPECT_NEAR(value, b.ranges.at(name), 1e-5 * value) << name;
  for (const auto& [name, mean] : a.means)
    for (size_t c = 0; c < mean.size(); ++c) EXPECT_NEAR(mean[c], b.means.at(name)[c], 1e-5) << name;
}

TEST(QuantizeModel, BiasCorrectionKeepsTheMeanOutput) {
  // Filters of 1x1 without padding, so the mean of the input is all that the mean of the output depends on.
  // One scale for filters of very different size: rounding moves the means far.
  const Graph g = build_graph(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor w = s.param("w", {4, 1, 1, 6}, he_normal), bias = s.param("bias", {4}, zeros);
        return {conv2d(x, w, {.bias = bias})};
      },
      9, 9, 6, 1);
  const Tensor w = g.values[g.find("w")].param;
  for (int i = 0; i < 24; ++i) w.f32()[i] *= i < 6 ? 1.0f : 0.01f;
  FixedBatches source;
  source.images = {random_tensor({8, 9, 9, 6}, Device::kCpu, 3)};
  for (int i = 0; i < 8 * 81 * 6; ++i) source.images[0].f32()[i] += 1.5f;
  const NoGrad no_grad;
  const auto means = [&](const Graph& graph) {
    std::vector<double> sums(4);
    const std::vector<float> y = graph.run({source.images[0]})[0].to_vector();
    for (size_t i = 0; i < y.size(); ++i) sums[i % 4] += y[i] / (8 * 81);
    return sums;
  };
  const auto error = [&](bool correct) {
    const std::vector<double> want = means(g),
                              got = means(quantize_model(
                                  g, source, {.calibrator = "min_max", .bias_correction = correct},
                                  {.per_channel = false}));
    double most = 0;
    for (int k = 0; k < 4; ++k) most = std::max(most, std::abs(got[k] - want[k]));
    return most;
  };
  EXPECT_LT(error(true), 0.2 * error(false));
}

TEST(QuantizeModel, AConstantPictureStillGivesScales) {
  FixedBatches source;
  source.images = {Tensor::zeros({1, 9, 9, 3})};
  const Graph int8 = quantize_model(network(), source);
  const NoGrad no_grad;
  for (float v : int8.run({source.images[0]})[0].to_vector()) EXPECT_TRUE(std::isfinite(v));
}

TEST(QuantizeModel, NamesTheLayerOfANaN) {
  FixedBatches source;
  source.images = {random_tensor({1, 9, 9, 3}, Device::kCpu, 1)};
  Graph g = prepare_for_quantization(network());
  g.values[g.find("conv/w")].param.f32()[0] = std::numeric_limits<float>::quiet_NaN();
  try {
    calibrate(g, source);
    FAIL() << "NaN was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("in conv"), std::string::npos) << e.what();
  }
}

TEST(QuantizeModel, NothingToCalibrateOnIsAnError) {
  FixedBatches empty;
  EXPECT_THROW(quantize_model(network(), empty), Error);
}

}  // namespace
}  // namespace espalier::test
