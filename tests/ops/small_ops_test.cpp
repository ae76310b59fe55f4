// Ops without a fast path of their own: each against a plain double reference and central differences, on
// every device.

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "ops/autograd.h"
#include "ops/ops.h"
#include "support/device_test.h"
#include "support/expect_close.h"
#include "support/gradients.h"
#include "support/kernel_settings.h"
#include "support/messages.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

struct SmallOpsTest : DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(SmallOpsTest);

/// Element [n,h,w,c] of a host copy.
struct Image {
  Shape s;
  std::vector<float> values;
  explicit Image(const Tensor& t) : s(t.shape()), values(t.to_vector()) {}
  float at(int n, int h, int w, int c) const {
    return values[((size_t{0} + n) * s[1] + h) * s[2] * s[3] + size_t(w) * s[3] + c];
  }
};

/// Values at least 0.05 from each other and from the kinks, so that differences of step 0.01 stay on one
/// piece.
Tensor spread_tensor(const Shape& shape, Device device, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = 0.05f * static_cast<float>((i * 7919 + seed * 31) % values.size()) -
                0.025f * static_cast<float>(values.size()) + 0.013f;
  return Tensor::from(values, shape, device);
}

TEST_P(SmallOpsTest, ActivationsMatchTheirFormula) {
  const Tensor x = spread_tensor({2, 3, 5, 37}, GetParam(), 1);
  const std::vector<float> in = x.to_vector();
  const auto check = [&](const Tensor& y, auto formula) {
    std::vector<double> want(in.begin(), in.end());
    for (double& v : want) v = formula(v);
    EXPECT_TRUE(expect_close(y.to_vector(), want, kElementwise));
  };
  check(relu(x), [](double v) { return std::max(v, 0.0); });
  check(relu6(x), [](double v) { return std::min(std::max(v, 0.0), 6.0); });
  check(leaky_relu(x, 0.1f), [](double v) { return v > 0 ? v : 0.1f * v; });
  check(sigmoid(x), [](double v) { return 1 / (1 + std::exp(-v)); });
}

TEST_P(SmallOpsTest, ActivationGradientsMatchDifferences) {
  const Tensor x = spread_tensor({2, 3, 5, 7}, GetParam(), 2), z = random_tensor({2, 3, 5, 7}, GetParam(), 3);
  EXPECT_TRUE(gradients_match([&] { return relu(x); }, {x}));
  EXPECT_TRUE(gradients_match([&] { return relu6(x); }, {x}));
  EXPECT_TRUE(gradients_match([&] { return leaky_relu(x, 0.1f); }, {x}));
  EXPECT_TRUE(gradients_match([&] { return sigmoid(z); }, {z}));
}

TEST_P(SmallOpsTest, ActivationDerivativesAtTheKinksAreFixed) {
  const Tensor x = Tensor::from(std::vector<float>{-1, 0, 3, 6, 7}, {5}, GetParam()).set_requires_grad();
  backward(Tensors{relu6(x)}, Tensors{Tensor::full({5}, 1, GetParam())});
  EXPECT_EQ(x.grad().to_vector(), (std::vector<float>{0, 0, 1, 0, 0}));
}

TEST_P(SmallOpsTest, AddMatchesAndPassesGradientsOn) {
  const Tensor a = random_tensor({2, 3, 5, 37}, GetParam(), 1),
               b = random_tensor({2, 3, 5, 37}, GetParam(), 2);
  std::vector<double> want;
  const std::vector<float> x = a.to_vector(), y = b.to_vector();
  for (size_t i = 0; i < x.size(); ++i) want.push_back(double{x[i]} + y[i]);
  EXPECT_TRUE(expect_close(add(a, b).to_vector(), want, kElementwise));
  EXPECT_TRUE(gradients_match([&] { return add(a, b); }, {a, b}));
  EXPECT_THROW(add(a, random_tensor({2, 3, 5, 36}, GetParam(), 2)), Error);
}

TEST_P(SmallOpsTest, ConcatPutsChannelsOneAfterAnother) {
  const Tensor a = random_tensor({2, 3, 5, 4}, GetParam(), 1),
               b = random_tensor({2, 3, 5, 37}, GetParam(), 2),
               c = random_tensor({2, 3, 5, 1}, GetParam(), 3);
  const Image y(concat({a, b, c})), x0(a), x1(b), x2(c);
  ASSERT_EQ(y.s, (Shape{2, 3, 5, 42}));
  for (int n = 0; n < 2; ++n)
    for (int h = 0; h < 3; ++h)
      for (int w = 0; w < 5; ++w) {
        for (int k = 0; k < 4; ++k) EXPECT_EQ(y.at(n, h, w, k), x0.at(n, h, w, k));
        for (int k = 0; k < 37; ++k) EXPECT_EQ(y.at(n, h, w, 4 + k), x1.at(n, h, w, k));
        EXPECT_EQ(y.at(n, h, w, 41), x2.at(n, h, w, 0));
      }
  EXPECT_TRUE(gradients_match([&] { return concat({a, b, c}); }, {a, b, c}));
  EXPECT_THROW(concat({a, random_tensor({2, 3, 4, 4}, GetParam(), 1)}), Error);
  EXPECT_THROW(concat({}), Error);
}

TEST_P(SmallOpsTest, MaxPoolTakesTheLargest) {
  for (const PoolOptions& o :
       {PoolOptions{2, 2, {}}, PoolOptions{3, 2, {1, 1, 1, 1}}, PoolOptions{3, 1, {0, 1, 1, 0}}}) {
    const Tensor x = spread_tensor({2, 5, 6, 5}, GetParam(), 3);
    const Image in(x), y(max_pool(x, o));
    for (int n = 0; n < 2; ++n)
      for (int p = 0; p < y.s[1]; ++p)
        for (int q = 0; q < y.s[2]; ++q)
          for (int c = 0; c < 5; ++c) {
            float want = -1e30f;
            for (int r = 0; r < o.kernel; ++r)
              for (int t = 0; t < o.kernel; ++t) {
                const int h = p * o.stride - o.pad.top + r, v = q * o.stride - o.pad.left + t;
                if (h >= 0 && h < 5 && v >= 0 && v < 6) want = std::max(want, in.at(n, h, v, c));
              }
            ASSERT_EQ(y.at(n, p, q, c), want);
          }
    EXPECT_TRUE(gradients_match([&] { return max_pool(x, o); }, {x}));
  }
  EXPECT_THROW(max_pool(random_tensor({1, 1, 1, 1}, GetParam(), 1)), Error);
  // The windows of an image without lines would hold padding alone.
  EXPECT_THROW(max_pool(Tensor({1, 0, 5, 3}, GetParam()), {3, 1, {2, 2, 2, 2}}), Error);
}

TEST_P(SmallOpsTest, MaxPoolGivesTiesToTheFirst) {
  const auto gradient = [] {
    const Tensor x = Tensor::full({1, 2, 2, 1}, 3, GetParam()).set_requires_grad();
    backward(max_pool(x));
    return x.grad().to_vector();
  };
  const std::vector<float> first = {1, 0, 0, 0};
  EXPECT_EQ(gradient(), first);
  const ReferenceKernels reference;
  EXPECT_EQ(gradient(), first);
}

TEST_P(SmallOpsTest, ImagesOfNothingAreTaken) {
  for (const Shape& shape : {Shape{0, 4, 6, 8}, Shape{0, 4, 6, 5}, Shape{2, 4, 6, 0}}) {
    const int N = shape[0], C = shape[3];
    const auto shapes_of = [&](const auto& op) {
      const Tensor x = Tensor(shape, GetParam()).set_requires_grad();
      const Tensor y = op(x);
      backward({y}, {Tensor(y.shape(), GetParam())});
      EXPECT_EQ(x.grad().shape(), shape);
      return y.shape();
    };
    expect_says(message_of([&] { max_pool(Tensor(shape, GetParam())); }), "no extent may be 0");
    EXPECT_EQ(shapes_of([](const Tensor& x) { return global_avg_pool(x); }), (Shape{N, C}));
    for (const bool corners : {false, true})
      EXPECT_EQ(shapes_of([&](const Tensor& x) { return resize_bilinear(x, 7, 9, corners); }),
                (Shape{N, 7, 9, C}));
    EXPECT_EQ(shapes_of([](const Tensor& x) { return resize_nearest(x, 7, 9); }), (Shape{N, 7, 9, C}));
  }
}

TEST_P(SmallOpsTest, GlobalAveragePoolIsTheMean) {
  const Tensor x = random_tensor({3, 5, 6, 37}, GetParam(), 4);
  const Image in(x);
  std::vector<double> want;
  for (int n = 0; n < 3; ++n)
    for (int c = 0; c < 37; ++c) {
      double sum = 0;
      for (int h = 0; h < 5; ++h)
        for (int w = 0; w < 6; ++w) sum += in.at(n, h, w, c);
      want.push_back(sum / 30);
    }
  EXPECT_TRUE(expect_close(global_avg_pool(x).to_vector(), want, {1e-5, 0.1}));  // a sum of 30 terms
  EXPECT_TRUE(gradients_match([&] { return global_avg_pool(x); }, {x}));
}

enum class Way { kNearest, kHalfPixel, kCorners };

double sampled(const Image& in, Way way, int n, int p, int q, int c, int P, int Q) {
  const auto place = [&](int i, int from, int to) -> double {
    if (way == Way::kNearest) return std::floor(double{1.0} * i * from / to);
    if (way == Way::kCorners) return to > 1 ? double{1.0} * i * (from - 1) / (to - 1) : 0;
    return std::max(0.0, (i + 0.5) * from / to - 0.5);
  };
  const double h = place(p, in.s[1], P), w = place(q, in.s[2], Q);
  const int h0 = std::min(static_cast<int>(h), in.s[1] - 1), w0 = std::min(static_cast<int>(w), in.s[2] - 1);
  const int h1 = std::min(h0 + 1, in.s[1] - 1), w1 = std::min(w0 + 1, in.s[2] - 1);
  const double fh = h - h0, fw = w - w0;
  return (1 - fh) * ((1 - fw) * in.at(n, h0, w0, c) + fw * in.at(n, h0, w1, c)) +
         fh * ((1 - fw) * in.at(n, h1, w0, c) + fw * in.at(n, h1, w1, c));
}

TEST_P(SmallOpsTest, ResizeMatchesItsFormulaAndGradient) {
  constexpr int kSizes[][2] = {{10, 12}, {7, 9}, {3, 4}, {1, 1}, {5, 6}, {11, 5}};
  for (const auto& size : kSizes)
    for (Way way : {Way::kNearest, Way::kHalfPixel, Way::kCorners}) {
      SCOPED_TRACE(str(size[0], "x", size[1], " way ", static_cast<int>(way)));
      const int P = size[0], Q = size[1];
      const Tensor x = random_tensor({2, 5, 6, 3}, GetParam(), 5);
      const auto run = [&] {
        return way == Way::kNearest ? resize_nearest(x, P, Q)
                                    : resize_bilinear(x, P, Q, way == Way::kCorners);
      };
      const Image in(x);
      std::vector<double> want;
      for (int n = 0; n < 2; ++n)
        for (int p = 0; p < P; ++p)
          for (int q = 0; q < Q; ++q)
            for (int c = 0; c < 3; ++c) want.push_back(sampled(in, way, n, p, q, c, P, Q));
      EXPECT_TRUE(expect_close(run().to_vector(), want, {2e-6, 1.0}));  // source positions are rounded
      EXPECT_TRUE(gradients_match(run, {x}, kGradient, 200));
    }
}

TEST_P(SmallOpsTest, ResizeLikeTakesExtentsOnly) {
  const Tensor x = random_tensor({2, 3, 4, 5}, GetParam(), 6),
               like = random_tensor({2, 6, 9, 1}, GetParam(), 7);
  EXPECT_EQ(resize_bilinear_like(x, like, true).to_vector(), resize_bilinear(x, 6, 9, true).to_vector());
  EXPECT_EQ(resize_nearest_like(x, like).to_vector(), resize_nearest(x, 6, 9).to_vector());
  EXPECT_THROW(resize_nearest(x, 0, 3), Error);
  const Tensor leaf = like.detached().set_requires_grad(), behind = like.detached().set_requires_grad();
  const Tensor y = add(resize_nearest_like(x, leaf), resize_nearest_like(x, relu(behind)));
  backward(Tensors{y}, Tensors{Tensor::full(y.shape(), 1, GetParam())});
  EXPECT_EQ(leaf.grad().to_vector(), std::vector<float>(108)) << "a leaf is told that it does not matter";
  EXPECT_FALSE(behind.grad().defined()) << "nobody computes and adds zeros";
}

TEST_P(SmallOpsTest, DropoutZeroesItsShareAndKeepsTheMean) {
  const Tensor x = Tensor::full({100000}, 2, GetParam());
  EXPECT_EQ(dropout(x, 0.3f).to_vector(), x.to_vector()) << "it is the identity outside training";
  const TrainingMode training;
  set_dropout_step(1, 5);
  const std::vector<float> y = dropout(x, 0.3f).to_vector();
  int zeros = 0;
  for (float v : y) {
    zeros += v == 0;
    EXPECT_TRUE(v == 0 || std::abs(v - 2 / 0.7f) < 1e-5f);
  }
  EXPECT_NEAR(zeros, 30000, 5 * std::sqrt(100000 * 0.3 * 0.7));
  EXPECT_EQ(dropout(x, 0.3f).to_vector(), y) << "the same step draws the same mask";
  EXPECT_NE(dropout(x, 0.3f, 1).to_vector(), y) << "another layer draws another";
  set_dropout_step(1, 6);
  EXPECT_NE(dropout(x, 0.3f).to_vector(), y) << "another step draws another";
  EXPECT_THROW(dropout(x, 1.0f), Error);
}

TEST_P(SmallOpsTest, DropoutGradientUsesTheSameMask) {
  const TrainingMode training;
  set_dropout_step(3, 9);
  const Tensor x = random_tensor({4, 37}, GetParam(), 8);
  EXPECT_TRUE(gradients_match([&] { return dropout(x, 0.4f, 2); }, {x}));
}

/// -sum target * log softmax, in double.
double cross_entropy(const std::vector<float>& logits, int row, int K, int label, double smoothing) {
  double top = -1e30, sum = 0, loss = 0;
  for (int k = 0; k < K; ++k) top = std::max(top, double{logits[row * K + k]});
  for (int k = 0; k < K; ++k) sum += std::exp(logits[row * K + k] - top);
  for (int k = 0; k < K; ++k) {
    const double target = smoothing / K + (k == label ? 1 - smoothing : 0);
    loss -= target * (logits[row * K + k] - top - std::log(sum));
  }
  return loss;
}

TEST_P(SmallOpsTest, CrossEntropyMatchesItsFormulaAndGradient) {
  constexpr int kRows = 12, K = 7;
  const Tensor x = random_tensor({3, 4, K}, GetParam(), 9);
  std::vector<int32_t> labels;
  for (int i = 0; i < kRows; ++i) labels.push_back(i % 5 == 4 ? 255 : i * 3 % K);
  const Tensor y = Tensor::from(labels, {3, 4}, GetParam());
  const std::vector<float> weights = {1, 2, 0.5f, 1, 3, 1, 0.25f};
  for (const CrossEntropyOptions& o :
       {CrossEntropyOptions{0, {}, 255, 0}, CrossEntropyOptions{0.1f, weights, 255, 0},
        CrossEntropyOptions{0.2f, {}, 255, 1e-2f}, CrossEntropyOptions{0, weights, 255, 1e-2f, true}}) {
    const std::vector<float> logits = x.to_vector();
    double sum = 0, denominator = o.denominator_eps * kRows;
    for (int i = 0; i < kRows; ++i) {
      if (labels[i] == 255) continue;
      const double w = o.class_weights.empty() ? 1 : o.class_weights[labels[i]];
      sum += w * cross_entropy(logits, i, K, labels[i], o.label_smoothing);
      denominator += o.plain_mean ? 1 : w;
    }
    const double want = sum / denominator, got = softmax_cross_entropy(x, y, o).item();
    EXPECT_TRUE(std::abs(got - want) <= 2e-6 * std::abs(want)) << got << ", expected " << want;
    EXPECT_TRUE(gradients_match([&] { return softmax_cross_entropy(x, y, o); }, {x}));
  }
}

TEST_P(SmallOpsTest, CrossEntropyNeedsNoSmallLogits) {
  const Tensor x =
      Tensor::from(std::vector<float>{1000, -1000, 0, 3e4f}, {2, 2}, GetParam()).set_requires_grad();
  const Tensor loss = softmax_cross_entropy(x, Tensor::from(std::vector<int32_t>{1, 1}, {2}, GetParam()));
  EXPECT_FLOAT_EQ(loss.item(), 1000);
  backward(loss);
  for (float g : x.grad().to_vector()) EXPECT_TRUE(std::isfinite(g));
}

TEST_P(SmallOpsTest, CrossEntropyNamesTheRowOfABadLabel) {
  const Tensor x = random_tensor({3, 4}, GetParam(), 1);
  try {
    softmax_cross_entropy(x, Tensor::from(std::vector<int32_t>{0, 1, 4}, {3}, GetParam()));
    FAIL() << "label 4 of 4 classes was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("row 2 is 4; it must lie in 0 .. 3"), std::string::npos) << e.what();
  }
  EXPECT_THROW(softmax_cross_entropy(x, Tensor::from(std::vector<int32_t>{0, 1}, {2}, GetParam())), Error);
}

TEST_P(SmallOpsTest, CrossEntropyOfNothingButIgnoredRowsIsZero) {
  const Tensor x = random_tensor({2, 3}, GetParam(), 1).set_requires_grad();
  const Tensor loss = softmax_cross_entropy(x, Tensor::from(std::vector<int32_t>{9, 9}, {2}, GetParam()),
                                            {.ignored_label = 9});
  EXPECT_EQ(loss.item(), 0);
  backward(loss);
  for (float g : x.grad().to_vector()) EXPECT_EQ(g, 0);
}

}  // namespace
}  // namespace espalier::test
