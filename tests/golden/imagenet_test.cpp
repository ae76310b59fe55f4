// The pretrained MobileNets give the logits that PyTorch gives.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "io/file.h"
#include "io/weight_import.h"
#include "models/model_table.h"
#include "runtime/session.h"
#include "support/shared.h"

namespace espalier {
namespace {

std::vector<float> floats(const std::string& path) {
  const std::string bytes = read_file(path);
  std::vector<float> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), values.size() * 4);
  return values;
}

struct Pretrained {
  const char* model;
  const char* padding;
  int parameters;
};

class ImagenetLogits : public testing::TestWithParam<Pretrained> {};

TEST_P(ImagenetLogits, AreWithinAThousandth) {
  const auto [model, padding, parameters] = GetParam();
  const std::string name = model, weights = test::shared_path("weights/" + name + "_imagenet.safetensors");
  if (!std::filesystem::exists(weights)) GTEST_SKIP() << "no weights at " << weights;
  Graph graph = build_model({.name = name, .classes = 1000, .options = {{"padding", padding}}}, 224, 1);
  const ImportReport report = import_weights(graph, name, weights);
  EXPECT_EQ(report.loaded, parameters);
  EXPECT_TRUE(report.initialised.empty());

  const Tensor x = Tensor::from(floats(test::shared_path("weights/golden/input.f32")), {4, 224, 224, 3});
  const std::vector<float> want =
      floats(test::shared_path("weights/golden/" + name + "_logits" +
                               (std::string(padding) == "tensorflow" ? "_tensorflow_padding" : "") + ".f32"));
  const NoGrad no_grad;
  Session session(graph);
  for (const std::vector<float>& got : {session.run({x})[0].to_vector(), graph.run({x})[0].to_vector()}) {
    ASSERT_EQ(got.size(), want.size());
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      const double error = std::abs(double{got[i]} - want[i]);
      if (!(error <= worst)) worst = error;
    }
    EXPECT_TRUE(worst <= 1e-3) << worst;
  }
}

INSTANTIATE_TEST_SUITE_P(Paddings, ImagenetLogits,
                         testing::Values(Pretrained{"mobilenet_v2", "symmetric", 262},
                                         Pretrained{"mobilenet_v2", "tensorflow", 262},
                                         Pretrained{"mobilenet_v1", "symmetric", 137},
                                         Pretrained{"mobilenet_v1", "tensorflow", 137}),
                         [](const auto& info) {
                           return std::string(info.param.model) + "_" + info.param.padding;
                         });

TEST(PretrainedBackbone, GivesTheDetectorTheClassifiersMaps) {
  const std::string weights = test::shared_path("weights/mobilenet_v1_imagenet.safetensors");
  if (!std::filesystem::exists(weights)) GTEST_SKIP() << "no weights at " << weights;
  const Json options{{"activation", "relu6"}};
  Graph detector = build_model({.name = "yolov3_mobilenet_v1", .classes = 6, .options = options}, 64, 1);
  Graph classifier = build_model({.name = "mobilenet_v1", .classes = 1000, .options = options}, 64, 1);
  const ImportReport report = import_weights(detector, "yolov3_mobilenet_v1", weights);
  EXPECT_EQ(report.loaded, 135);  // all but the classifier's two
  EXPECT_EQ(report.initialised,
            (std::vector<std::string>{"yolo_block0", "yolo_output0", "yolo_transition0", "yolo_block1",
                                      "yolo_output1", "yolo_transition1", "yolo_block2", "yolo_output2"}));
  import_weights(classifier, "mobilenet_v1", weights);
  for (const Graph::Value& v : classifier.values) {
    if (!v.param.defined() || v.name.starts_with("classifier/")) continue;
    EXPECT_EQ(detector.values[detector.find("backbone/" + v.name)].param.to_vector(), v.param.to_vector());
  }
}

}  // namespace
}  // namespace espalier
