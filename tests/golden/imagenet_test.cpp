// The pretrained MobileNetV2 gives the logits that its makers' framework gives.

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

class ImagenetLogits : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(ImagenetLogits, AreWithinAThousandth) {
  const auto [padding, file] = GetParam();
  const std::string weights = test::shared_path("weights/mobilenet_v2_imagenet.safetensors");
  if (!std::filesystem::exists(weights)) GTEST_SKIP() << "no weights at " << weights;
  Graph graph =
      build_model({.name = "mobilenet_v2", .classes = 1000, .options = {{"padding", padding}}}, 224, 1);
  const ImportReport report = import_weights(graph, "mobilenet_v2", weights);
  EXPECT_EQ(report.loaded, 262);
  EXPECT_TRUE(report.initialised.empty());

  const Tensor x = Tensor::from(floats(test::shared_path("weights/golden/input.f32")), {4, 224, 224, 3});
  const std::vector<float> want = floats(test::shared_path(std::string("weights/golden/") + file));
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
                         testing::Values(std::pair("symmetric", "mobilenet_v2_logits.f32"),
                                         std::pair("tensorflow",
                                                   "mobilenet_v2_logits_tensorflow_padding.f32")),
                         [](const auto& info) { return std::string(info.param.first); });

}  // namespace
}  // namespace espalier
