// The sweep over a detector on every device: heads on both sides of a cut, odd widths, boxes by the thousand.

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "compress/sensitivity.h"
#include "compress/toy.h"
#include "runtime/session.h"
#include "support/device_test.h"
#include "support/temporary_directory.h"

namespace espalier {
namespace {

constexpr int kClasses = 4;

Graph detector(double width, int size) {
  Graph graph = build_model(
      {.name = "yolov3_mobilenet_v1", .classes = kClasses, .options = {{"width", width}, {"tap", "early"}}},
      size, 1);
  test::randomise(graph, 3);
  return graph;
}

/// Random pictures with the boxes that the network itself finds in them.
class FoundObjects final : public BatchSource {
 public:
  FoundObjects(const Graph& graph, const Task& task, int size, std::vector<int> batches) {
    Session session(graph);
    for (const int count : batches) {
      Batch& batch = batches_.emplace_back();
      batch.images = test::random_tensor({count, size, size, 3}, Device::kCpu, 7 + batches_.size());
      const Tensors heads = session.run({batch.images});
      const Tensor targets = Tensor::zeros({count, kObjects, 6});
      for (int i = 0; i < count; ++i) {
        Annotation& picture = batch.annotations.emplace_back(Annotation{size, size, {}, {}, {}});
        picture.boxes = task.decode(heads, i, picture).boxes;
        if (picture.boxes.size() > kObjects) picture.boxes.resize(kObjects);
        for (size_t m = 0; m < picture.boxes.size(); ++m) {
          const ObjectBox& b = picture.boxes[m];
          const float target[] = {(b.x0 + b.x1) / 2, (b.y0 + b.y1) / 2, b.width(), b.height()};
          float* t = targets.f32() + (i * kObjects + static_cast<int>(m)) * 6;
          for (int k = 0; k < 4; ++k) t[k] = target[k] / static_cast<float>(size);
          t[4] = static_cast<float>(b.label), t[5] = 1;
        }
        batch.samples.push_back(samples_++);
      }
      batch.targets = {targets};
    }
  }

  void start(int, int64_t first) override { at_ = static_cast<size_t>(first); }
  bool next(Batch& batch) override {
    if (at_ >= batches_.size()) return false;
    batch = batches_[at_++];
    return true;
  }
  int64_t batches() const override { return static_cast<int64_t>(batches_.size()); }
  int64_t samples() const override { return samples_; }
  uint64_t hash() const override { return 1; }

 private:
  static constexpr int kObjects = 5;
  std::vector<Batch> batches_;
  size_t at_ = 0;
  int samples_ = 0;
};

struct DeviceSensitivity : test::DeviceTest {
  test::TemporaryDirectory folder;
  std::unique_ptr<Task> task = make_task("detection", kClasses, {{"paddlex_compat", true}});

  Sensitivity measure(const Graph& graph, BatchSource& source, const SensitivityOptions& options) {
    const std::filesystem::path file = folder.path() / "sensitivity.json";
    std::filesystem::remove(file);
    return measure_sensitivity(graph, *task, source, file, options);
  }
};

TEST_P(DeviceSensitivity, OfADetectorIsAsOnTheCpu) {
  const Graph graph = detector(0.25, 96);
  FoundObjects source(graph, *task, 96, {3, 3, 2});
  const SensitivityOptions options{
      .ratios = {0.1, 0.9}, .stop_loss = 1, .groups = {.include = {"yolo_block*"}, .exclude = {}}};
  const Sensitivity want = measure(graph, source, options),
                    got = measure(graph.to(GetParam()), source, options);
  EXPECT_NEAR(got.baseline_loss, want.baseline_loss, 1e-2 * want.baseline_loss);
  ASSERT_EQ(got.groups.size(), want.groups.size());
  for (size_t g = 0; g < want.groups.size(); ++g) {
    ASSERT_EQ(got.groups[g].points.size(), want.groups[g].points.size());
    for (size_t i = 0; i < want.groups[g].points.size(); ++i) {
      const double loss = want.groups[g].points[i].evaluation_loss;
      EXPECT_NEAR(got.groups[g].points[i].evaluation_loss, loss, 1e-2 * loss) << want.groups[g].name;
    }
  }
}

TEST_P(DeviceSensitivity, OfADetectorAsLargeAsTheReferences) {
  if (GetParam() == Device::kCpu) GTEST_SKIP() << "takes minutes there";
  const Graph graph = detector(1, 608).to(GetParam());
  FoundObjects source(graph, *task, 608, {8, 8, 8, 4});
  const Sensitivity measured =
      measure(graph, source,
              {.ratios = {0.1, 0.3, 0.9},
               .stop_loss = 1,
               .groups = {.include = {"yolo_block0/conv0", "yolo_block0/conv1", "yolo_block1/conv1"},
                          .exclude = {}}});
  EXPECT_TRUE(measured.complete());
}

ESPALIER_TEST_ON_EVERY_DEVICE(DeviceSensitivity);

}  // namespace
}  // namespace espalier
