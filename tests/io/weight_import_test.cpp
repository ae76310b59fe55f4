#include "io/weight_import.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "io/model_file.h"
#include "io/safetensors.h"
#include "models/model_table.h"
#include "support/temporary_directory.h"

namespace espalier {
namespace {

Graph model(int classes, const char* form = "paper") {
  return build_model({.name = "mobilenet_v2", .classes = classes, .options = {{"form", form}}}, 32, 1);
}

class WeightImport : public testing::Test {
 protected:
  void SetUp() override {
    Model m;
    m.graph = build_model({.name = "mobilenet_v2", .classes = 5}, 32, 2);
    m.task = "classification";
    m.architecture = Json::object();
    save_model(path, m);
  }
  std::string message_of(Graph graph) {
    try {
      import_weights(graph, "mobilenet_v2", path);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  test::TemporaryDirectory folder;
  std::filesystem::path path = folder.path() / "weights.safetensors";
};

TEST_F(WeightImport, OwnModelFileFillsEverything) {
  Graph g = model(5);
  const ImportReport report = import_weights(g, "mobilenet_v2", path);
  EXPECT_EQ(report.loaded, 262);
  EXPECT_TRUE(report.initialised.empty());
  EXPECT_EQ(g.hash(), load_model(path).graph.hash());
}

TEST_F(WeightImport, HeadOfAnotherClassCountStaysFreshAndIsSaid) {
  Graph g = model(7);
  const std::vector<float> fresh = g.values[g.find("classifier/w")].param.to_vector();
  const ImportReport report = import_weights(g, "mobilenet_v2", path);
  EXPECT_EQ(report.loaded, 260);
  ASSERT_EQ(report.initialised.size(), 2u);
  EXPECT_NE(report.initialised[0].find("classifier/w (5 classes there, 7 here)"), std::string::npos)
      << report.initialised[0];
  EXPECT_EQ(g.values[g.find("classifier/w")].param.to_vector(), fresh);
}

TEST_F(WeightImport, AnotherFormIsAnErrorThatNamesTheTensors) {
  const std::string message = message_of(model(5, "reference"));
  EXPECT_NE(message.find("block1/expand/w"), std::string::npos) << message;
}

TEST_F(WeightImport, OtherShapesAndSurplusAreErrorsAndChangeNothing) {
  Safetensors file = load_safetensors(path);
  file.tensors[0].second = Tensor::zeros({9});
  file.tensors.emplace_back("extra", Tensor::zeros({1}));
  save_safetensors(path, file);
  Graph g = model(5);
  const uint64_t before = g.hash();
  const std::string message = message_of(g);
  EXPECT_NE(message.find("stem/w"), std::string::npos) << message;
  EXPECT_NE(message.find("extra"), std::string::npos) << message;
  EXPECT_EQ(g.hash(), before);
}

TEST(WeightImportOfDetectors, TakesABackboneAndAnotherClassCount) {
  test::TemporaryDirectory folder;
  const auto detector = [](int classes) {
    return build_model({.name = "yolov3_mobilenet_v1", .classes = classes, .options = {{"width", 0.25}}}, 32,
                       1);
  };
  Model m;
  m.task = "classification";
  m.graph = build_model({.name = "mobilenet_v1", .classes = 5, .options = {{"width", 0.25}}}, 32, 2);
  save_model(folder.path() / "backbone.safetensors", m);
  Graph g = detector(2);
  const ImportReport backbone =
      import_weights(g, "yolov3_mobilenet_v1", folder.path() / "backbone.safetensors");
  EXPECT_EQ(backbone.loaded, 135);
  EXPECT_EQ(backbone.initialised.size(), 8u);
  EXPECT_EQ(g.values[g.find("backbone/stem/w")].param.to_vector(),
            m.graph.values[m.graph.find("stem/w")].param.to_vector());

  m.task = "detection";
  m.graph = g;
  save_model(folder.path() / "detector.safetensors", m);
  Graph more = detector(4);
  const ImportReport heads =
      import_weights(more, "yolov3_mobilenet_v1", folder.path() / "detector.safetensors");
  ASSERT_EQ(heads.initialised.size(), 6u);
  EXPECT_EQ(heads.initialised[0], "yolo_output0/w (21 outputs there, 27 here)");
}

TEST(WeightImportOfSegmenters, KeepsTheLogitsOfAnotherClassCountFresh) {
  test::TemporaryDirectory folder;
  const auto unet = [](int classes) {
    return build_model({.name = "unet", .classes = classes, .options = {{"width", 0.1}}}, 32, 1);
  };
  Model m;
  m.task = "segmentation";
  m.graph = unet(2);
  save_model(folder.path() / "unet.safetensors", m);
  Graph g = unet(3);
  EXPECT_EQ(import_weights(g, "unet", folder.path() / "unet.safetensors").initialised,
            std::vector<std::string>{"logits/w (2 classes there, 3 here)"});
}

}  // namespace
}  // namespace espalier
