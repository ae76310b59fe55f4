#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/random.h"
#include "ops/autograd.h"
#include "ops/ops.h"
#include "support/device_test.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

struct YoloLossTest : DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(YoloLossTest);

const YoloLossOptions kOptions{.anchors = {{10, 13}, {30, 61}, {62, 45}, {59, 119}, {116, 90}},
                               .mask = {4, 1},
                               .classes = 3,
                               .downsample = 16,
                               .ignore_threshold = 0.5f};

double cross_entropy(double x, double target) {
  const double p = 1 / (1 + std::exp(-x));
  return -target * std::log(p) - (1 - target) * std::log(1 - p);
}

struct Box {
  double x, y, w, h;
  double iou(const Box& b) const {
    const double iw = std::min(x + w / 2, b.x + b.w / 2) - std::max(x - w / 2, b.x - b.w / 2);
    const double ih = std::min(y + h / 2, b.y + b.h / 2) - std::max(y - h / 2, b.y - b.h / 2);
    const double shared = std::max(iw, 0.0) * std::max(ih, 0.0);
    return shared / (w * h + b.w * b.h - shared);
  }
};

/// In double, box by box as the specification tells it.
double reference(const Tensor& head, const Tensor& boxes, const YoloLossOptions& o) {
  const std::vector<float> x = head.to_vector(), rows = boxes.to_vector();
  const int N = head.shape()[0], H = head.shape()[1], W = head.shape()[2], M = boxes.shape()[1];
  const int A = static_cast<int>(o.mask.size()), L = 5 + o.classes;
  const double smooth = o.label_smooth ? std::min(1.0 / o.classes, 1.0 / 40) : 0;
  const auto width = [&](int a) { return double{o.anchors[a].first} / (o.downsample * W); };
  const auto height = [&](int a) { return double{o.anchors[a].second} / (o.downsample * H); };
  double total = 0;
  for (int n = 0; n < N; ++n) {
    const auto box = [&](int m) {
      const float* b = rows.data() + (size_t(n) * M + m) * 6;
      return Box{b[0], b[1], b[2], b[3]};
    };
    const auto at = [&](int h, int w, int a) {
      return x.data() + (((size_t(n) * H + h) * W + w) * A + a) * L;
    };
    std::vector<double> object(size_t(H) * W * A, 0);
    for (int h = 0; h < H; ++h)
      for (int w = 0; w < W; ++w)
        for (int a = 0; a < A; ++a) {
          const float* t = at(h, w, a);
          const Box predicted{
              (1 / (1 + std::exp(-double{t[0]})) + w) / W, (1 / (1 + std::exp(-double{t[1]})) + h) / H,
              std::exp(double{t[2]}) * width(o.mask[a]), std::exp(double{t[3]}) * height(o.mask[a])};
          for (int m = 0; m < M; ++m)
            if (box(m).w > 0 && predicted.iou(box(m)) > o.ignore_threshold)
              object[(size_t(h) * W + w) * A + a] = -1;
        }
    for (int m = 0; m < M; ++m) {
      const Box b = box(m);
      if (b.w == 0) continue;
      const float* row = rows.data() + (size_t(n) * M + m) * 6;
      int best = 0;
      const auto fit = [&](int a) { return Box{0, 0, width(a), height(a)}.iou({0, 0, b.w, b.h}); };
      for (int a = 1; a < static_cast<int>(o.anchors.size()); ++a)
        if (fit(a) > fit(best)) best = a;
      const auto found = std::find(o.mask.begin(), o.mask.end(), best);
      if (found == o.mask.end()) continue;
      const int a = static_cast<int>(found - o.mask.begin());
      const int w = std::min(static_cast<int>(b.x * W), W - 1),
                h = std::min(static_cast<int>(b.y * H), H - 1);
      const float* t = at(h, w, a);
      total += (2 - b.w * b.h) * row[5] *
               (cross_entropy(t[0], b.x * W - w) + cross_entropy(t[1], b.y * H - h) +
                std::abs(t[2] - std::log(b.w / width(best))) + std::abs(t[3] - std::log(b.h / height(best))));
      for (int k = 0; k < o.classes; ++k)
        total += row[5] * cross_entropy(t[5 + k], k == static_cast<int>(row[4]) ? 1 - smooth : smooth);
      object[(size_t(h) * W + w) * A + a] = row[5];
    }
    for (size_t i = 0; i < object.size(); ++i) {
      const double t = x[(size_t(n) * H * W * A + i) * L + 4];
      if (object[i] > 0) total += object[i] * cross_entropy(t, 1);
      if (object[i] == 0) total += cross_entropy(t, 0);
    }
  }
  return total / N;
}

/// Boxes all over the picture, every fifth row padding.
Tensor boxes(int N, int M, Device device) {
  Random random(3, Purpose::kTest);
  std::vector<float> rows;
  for (int i = 0; i < N * M; ++i) {
    for (int k = 0; k < 2; ++k) rows.push_back(static_cast<float>(random.uniform(0.0, 1.0)));
    for (int k = 0; k < 2; ++k)
      rows.push_back(i % 5 == 4 ? 0.0f : static_cast<float>(random.uniform(0.02, 0.9)));
    rows.push_back(static_cast<float>(random.below(3)));
    rows.push_back(static_cast<float>(random.uniform(0.2, 1.0)));
  }
  return Tensor::from(rows, {N, M, 6}, device);
}

TEST_P(YoloLossTest, MatchesTheFormula) {
  for (const int M : {1, 7, 120})  // 120 boxes meet in 30 cells: some share a predictor
    for (const bool smooth : {false, true}) {
      SCOPED_TRACE(str(M, " boxes, smooth ", smooth));
      YoloLossOptions o = kOptions;
      o.label_smooth = smooth;
      const Tensor head = random_tensor({2, 5, 6, 16}, GetParam(), 4), y = boxes(2, M, GetParam());
      const double want = reference(head, y, o);
      EXPECT_TRUE(std::abs(yolo_loss(head, y, o).item() - want) <= 2e-6 * want);
    }
}

TEST_P(YoloLossTest, EdgesOfThePictureBelongToTheLastCells) {
  const Tensor head = random_tensor({1, 3, 4, 16}, GetParam(), 5);
  const std::vector<float> row{1, 1, 1, 1, 2, 1};
  const Tensor y = Tensor::from(row, {1, 1, 6}, GetParam());
  const double want = reference(head, y, kOptions);
  EXPECT_TRUE(std::abs(yolo_loss(head, y, kOptions).item() - want) <= 2e-6 * want);
}

TEST_P(YoloLossTest, PaddingCostsNothing) {
  const Tensor head = random_tensor({2, 5, 6, 16}, GetParam(), 4);
  const Tensor none = Tensor::zeros({2, 1, 6}, GetParam()), more = Tensor::zeros({2, 9, 6}, GetParam());
  EXPECT_EQ(yolo_loss(head, none, kOptions).item(), yolo_loss(head, more, kOptions).item());
}

TEST_P(YoloLossTest, HugeLogitsStayFinite) {
  const Tensor y = boxes(1, 7, GetParam());
  for (const float value : {-200.0f, 200.0f}) {
    const Tensor head = Tensor::full({1, 5, 6, 16}, value, GetParam());
    head.set_requires_grad();
    const Tensor loss = yolo_loss(head, y, kOptions);
    backward(loss);
    EXPECT_TRUE(std::isfinite(loss.item()));
    for (float g : head.grad().to_vector()) ASSERT_TRUE(std::isfinite(g));
  }
}

TEST(YoloLoss, SaysWhatIsWrongWithABox) {
  const Tensor head = random_tensor({2, 5, 6, 16});
  const auto message = [&](std::vector<float> row) {
    std::vector<float> rows(12, 0.0f);
    std::copy(row.begin(), row.end(), rows.begin() + 6);
    try {
      yolo_loss(head, Tensor::from(rows, {2, 1, 6}), kOptions);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_EQ(message({0.5f, 0.5f, 0.2f, 0.2f, 2, 1}), "");
  EXPECT_NE(message({0.5f, 0.5f, 0.2f, 0.2f, 3, 1}).find("box 0 of image 1 has class 3"), std::string::npos);
  EXPECT_NE(message({1.5f, 0.5f, 0.2f, 0.2f, 2, 1}).find("centre at 1.5"), std::string::npos);
  EXPECT_NE(message({0.5f, 0.5f, 0.2f, 0.2f, 2, -1}).find("score -1"), std::string::npos);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(message({0.5f, 0.5f, nan, 0.2f, 2, 1}).find("NaN"), std::string::npos);
}

}  // namespace
}  // namespace espalier::test
