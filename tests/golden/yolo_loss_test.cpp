// The loss of YOLOv3 against Paddle's own operator.

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "golden/formula.h"
#include "ops/autograd.h"
#include "ops/ops.h"

namespace espalier::test {
namespace {

TEST(GoldenYoloLoss, AgreesWithPaddleInValueAndGradient) {
  const std::string path = golden_file("yolo_loss.json");
  std::ifstream in(path);
  if (!in) GTEST_SKIP() << "no golden files at " << path;
  const nlohmann::json golden = nlohmann::json::parse(in);
  const int batch = golden["batch"], classes = golden["classes"], count = golden["gt_per_image"];
  const uint64_t seed = golden["seed"];
  const std::vector<float> boxes = golden_boxes(batch, count, classes, seed);
  ASSERT_EQ(golden["scales"].size(), 3u);
  for (int scale = 0; scale < 3; ++scale) {
    const auto& want = golden["scales"][scale];
    SCOPED_TRACE(want["head"].get<std::string>());
    const int channels = want["shape"][1], H = want["shape"][2], W = want["shape"][3];
    YoloLossOptions options = golden_head(scale, classes);
    options.ignore_threshold = golden["ignore_thresh"];
    const int64_t per_image = int64_t{channels} * H * W;
    const std::vector<double> numbers = uniform(want["head"], batch * per_image, seed);
    // Theirs is NCHW: element (c, h, w) of theirs is (h, w, c) of ours.
    const auto at = [&](int64_t i) {
      const int64_t n = i / per_image, c = i / (H * W) % channels, place = i % (H * W);
      return n * per_image + place * channels + c;
    };
    std::vector<float> head(numbers.size());
    for (size_t i = 0; i < numbers.size(); ++i)
      head[at(static_cast<int64_t>(i))] = static_cast<float>(4 * numbers[i] - 2);

    const Tensor x = Tensor::from(head, {batch, H, W, channels}), y = Tensor::from(boxes, {batch, count, 6});
    x.set_requires_grad();
    const Tensor loss = yolo_loss(x, y, options);
    backward(loss);
    double mean = 0;
    for (int n = 0; n < batch; ++n) {
      const std::span all(head), one = all.subspan(n * per_image, per_image);
      const Tensor image = Tensor::from(one, {1, H, W, channels});
      const Tensor of_image = Tensor::from(std::span(boxes).subspan(n * count * 6, count * 6), {1, count, 6});
      const double theirs = want["loss_per_image"][n], ours = yolo_loss(image, of_image, options).item();
      EXPECT_TRUE(std::abs(ours - theirs) <= 1e-4 * theirs)
          << "image " << n << ": " << ours << ", " << theirs;
      mean += theirs / batch;
    }
    EXPECT_TRUE(std::abs(loss.item() - mean) <= 1e-4 * mean) << loss.item() << ", " << mean;

    const std::vector<float> g = x.grad().to_vector();
    double square = 0, sum = 0;
    for (float v : g) square += double{v} * v, sum += v;
    const double norm = want["gradient_of_mean_norm"], total = want["gradient_of_mean_sum"];
    EXPECT_TRUE(std::abs(std::sqrt(square) - norm) <= 1e-4 * norm) << std::sqrt(square) << ", " << norm;
    EXPECT_TRUE(std::abs(sum - total) <= 1e-4 * std::abs(total)) << sum << ", " << total;
    if (want["gradient_of_mean"].is_null()) continue;
    int off = 0;  // most elements have no gradient: expect_close would not trust them
    for (size_t i = 0; i < g.size(); ++i) {
      const double theirs = want["gradient_of_mean"][i], ours = g[at(static_cast<int64_t>(i))];
      off += !(std::abs(ours - theirs) <= 1e-4);
    }
    EXPECT_EQ(off, 0);
  }
}

}  // namespace
}  // namespace espalier::test
