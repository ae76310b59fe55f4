#include <gtest/gtest.h>

#include "base/error.h"
#include "graph/channel_groups.h"
#include "graph/cost.h"
#include "models/model_table.h"
#include "ops/ops.h"

namespace espalier {
namespace {

Graph model(int classes, const Json& options = Json::object(), int size = 64) {
  return build_model({.name = "mobilenet_v1", .classes = classes, .options = options}, size, 1);
}

TEST(MobileNetV1, HasThePublishedParametersAndWork) {
  EXPECT_EQ(cost(model(1000)).parameters, 4231976);
  // The paper counts 569 million multiply-adds at 224.
  EXPECT_NEAR(static_cast<double>(cost(model(1000, {}, 224)).macs), 569e6, 1e6);
}

TEST(MobileNetV1, OptionsReachTheLayers) {
  const Graph g = model(10, {{"width", 0.5}, {"padding", "tensorflow"}, {"activation", "relu"}});
  EXPECT_EQ(g.values[g.find("block13/pointwise/w")].meta.shape, (Shape{512, 1, 1, 512}));
  EXPECT_EQ(attributes_to_json(*g.items[g.find_item("stem/conv2d")].op).at("pad"), Json({0, 0, 1, 1}));
  const auto cap = [](const Graph& graph) {
    return attributes_to_json(*graph.items[graph.find_item("stem/activation")].op).at("cap").get<float>();
  };
  EXPECT_EQ(cap(g), Activation::kNoCap);
  EXPECT_EQ(cap(model(10)), 6.0f);
  EXPECT_THROW(model(10, {{"activation", "swish"}}), Error);
}

TEST(MobileNetV1, EveryPointwiseFilterIsAGroup) { EXPECT_EQ(channel_groups(model(10)).size(), 14u); }

}  // namespace
}  // namespace espalier
