#include "compress/rounding.h"
#include "compress/fixed_batches.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "compress/calibrate.h"
#include "compress/toy.h"
#include "ops/conv2d.h"

namespace espalier::test {
namespace {

/// Inputs whose channels go together, which is what rounding can use.
struct Correlated : FixedBatches {
  explicit Correlated(int channels) {
    for (uint64_t seed = 0; seed < 4; ++seed) {
      const Tensor base = random_tensor({4, 11, 9, 3}, Device::kCpu, seed), own({4, 11, 9, channels});
      const Tensor noise = random_tensor(own.shape(), Device::kCpu, seed + 50);
      for (int64_t i = 0; i < own.elements(); ++i)
        own.f32()[i] = base.f32()[i / channels * 3 + i % channels % 3] + 0.2f * noise.f32()[i] + 0.5f;
      images.push_back(own);
    }
  }
};

/// Dense with unequal padding, depthwise and linear.
Graph network() {
  Graph g = build_graph(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor w = s.param("first/w", {10, 3, 3, 13}, he_normal),
                     bias = s.param("first/bias", {10}, zeros);
        const Tensor y =
            conv2d(x, w, {.stride = 2, .pad = {0, 1, 2, 1}, .act = Activation::relu(), .bias = bias});
        const Tensor z = depthwise_bn(s / "second", y, {.kernel = 3, .act = Activation::relu()});
        return {fully_connected(s / "head", global_avg_pool(z), 4)};
      },
      11, 9, 13, 1);
  randomise(g, 3);
  return prepare_for_quantization(g);
}

/// Mean squared error of what a layer makes of the source when only its filters are rounded; its mean is left
/// out as bias correction would.
double error_of(const Graph& g, const std::string& filters, const Tensor* shift, Correlated& source,
                bool centred) {
  Graph coded = g.clone();
  const Tensor w = coded.values[coded.find(filters)].param;
  const bool depthwise = w.shape().axes() == 3;
  const std::vector<double> scales = filter_scales(w, depthwise, true);
  int reader = -1;
  for (size_t i = 0; i < g.items.size(); ++i)
    if (g.items[i].in[1 % g.items[i].in.size()] == g.find(filters)) reader = static_cast<int>(i);
  for (int64_t i = 0; i < w.elements(); ++i) {
    const double s = scales[filter_channel(w.shape(), depthwise, i)];
    w.f32()[i] = static_cast<float>(s * (std::nearbyint(w.f32()[i] / s) + (shift ? shift->s8()[i] : 0)));
  }
  // Up to the layer, before its activation.
  const NoGrad no_grad;
  const auto outputs = [&](const Graph& from) {
    Graph part = from.slice(0, reader + 1);
    if (const auto* conv = part.items.back().as<DepthwiseConv2d>()) {
      auto plain = std::make_shared<DepthwiseConv2d>(*conv);
      plain->act = Activation::none();
      part.items.back().op = plain;
    } else if (const auto* dense = part.items.back().as<Conv2d>()) {
      auto plain = std::make_shared<Conv2d>(*dense);
      plain->act = Activation::none();
      part.items.back().op = plain;
    }
    return part;
  };
  const Graph a = outputs(g), b = outputs(coded);
  const int K = static_cast<int>(scales.size());
  std::vector<double> sum(K), squares(K);
  double rows = 0;
  for (const Tensor& x : source.images) {
    const std::vector<float> want = a.run({x}).back().to_vector(), got = b.run({x}).back().to_vector();
    for (size_t i = 0; i < want.size(); ++i) {
      const double e = got[i] - want[i];
      sum[i % K] += e, squares[i % K] += e * e;
    }
    rows += static_cast<double>(want.size() / K);
  }
  double error = 0;
  for (int k = 0; k < K; ++k) error += squares[k] / rows - (centred ? std::pow(sum[k] / rows, 2) : 0);
  return error / K;
}

class Rounding : public ::testing::TestWithParam<bool> {};

TEST_P(Rounding, LowersTheErrorOfEveryLayersOutput) {
  Correlated source(13);
  const Graph g = network();
  std::map<std::string, RoundedLayer> report;
  const auto rounding =
      choose_rounding(g, source, {.bias_correction = GetParam(), .rows_per_image = 1000}, &report);
  EXPECT_EQ(rounding.size(), 3u);
  for (const auto& [name, shift] : rounding) {
    const double nearest = error_of(g, name, nullptr, source, GetParam()),
                 chosen = error_of(g, name, &shift, source, GetParam());
    EXPECT_LT(chosen, nearest) << name;
    EXPECT_LT(report.at(name).error_after, report.at(name).error_before) << name;
    EXPECT_GT(report.at(name).moved, 0) << name;
    // What it says beforehand is what comes, but for the little on the diagonal.
    EXPECT_NEAR(report.at(name).error_before, nearest, 0.05 * nearest) << name;
    EXPECT_NEAR(report.at(name).error_after, chosen, 0.3 * nearest) << name;
  }
  EXPECT_LT(error_of(g, "first/w", &rounding.at("first/w"), source, GetParam()),
            0.6 * error_of(g, "first/w", nullptr, source, GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Means, Rounding, ::testing::Bool());

TEST(ChooseRounding, DoesNotDependOnTheMemory) {
  Correlated source(13);
  const Graph g = network();
  const auto whole = choose_rounding(g, source), pieces = choose_rounding(g, source, {.memory = 1});
  for (const auto& [name, shift] : whole) EXPECT_EQ(shift.to_vector(), pieces.at(name).to_vector()) << name;
}

TEST(ChooseRounding, IsWhatQuantizeTakes) {
  Correlated source(13);
  const Graph g = network();
  const Calibration calibration = calibrate(g, source, {.calibrator = "min_max"});
  const auto rounding = choose_rounding(g, source);
  const Graph nearest = quantize(g, calibration.ranges),
              chosen = quantize(g, calibration.ranges, {.rounding = rounding});
  const Tensor before = nearest.values[nearest.find("first/w")].param,
               after = chosen.values[chosen.find("first/w")].param;
  for (int64_t i = 0; i < before.elements(); ++i)
    EXPECT_EQ(after.s8()[i] - before.s8()[i], rounding.at("first/w").s8()[i]);
}

TEST(ChooseRounding, NeedsPictures) {
  Correlated source(13);
  source.images.clear();
  EXPECT_THROW(choose_rounding(network(), source), Error);
}

}  // namespace
}  // namespace espalier::test
