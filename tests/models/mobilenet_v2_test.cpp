#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "graph/channel_groups.h"
#include "graph/cost.h"
#include "models/model_table.h"
#include "runtime/session.h"
#include "support/random_tensor.h"

namespace espalier {
namespace {

Graph model(int classes, const char* form, const char* padding = "symmetric", double width = 1.0,
            int size = 64) {
  return build_model({.name = "mobilenet_v2",
                      .classes = classes,
                      .options = {{"form", form}, {"padding", padding}, {"width", width}}},
                     size, 1);
}

TEST(MobileNetV2, HasThePublishedParameterCounts) {
  EXPECT_EQ(cost(model(1000, "paper")).parameters, 3504872);
  EXPECT_EQ(cost(model(10, "reference")).parameters, 2237770);
  EXPECT_EQ(cost(model(1000, "reference")).parameters, 3505960);
  EXPECT_EQ(cost(model(5, "reference")).parameters, 2231365);
}

TEST(MobileNetV2, HasThePublishedWorkAndBytes) {
  const Cost c = cost(model(10, "reference", "symmetric", 1.0, 224));
  EXPECT_EQ(c.bytes, int64_t{4} * 2271946);  // with running statistics
  EXPECT_NEAR(static_cast<double>(cost(model(1000, "reference", "symmetric", 1.0, 224)).macs), 0.314e9,
              0.001e9);
}

TEST(MobileNetV2, WidthScalesChannels) {
  const Graph half = model(10, "paper", "symmetric", 0.5);
  EXPECT_EQ(half.values[half.find("stem/w")].meta.shape, (Shape{16, 3, 3, 3}));
  EXPECT_EQ(half.values[half.find("head/w")].meta.shape, (Shape{1280, 1, 1, 160}));
  const Graph wide = model(10, "paper", "symmetric", 1.5);
  EXPECT_EQ(wide.values[wide.find("head/w")].meta.shape, (Shape{1920, 1, 1, 480}));
}

TEST(MobileNetV2, TensorflowPaddingIsAfterTheImageAtStrideTwo) {
  const Graph g = model(10, "paper", "tensorflow");
  EXPECT_EQ(attributes_to_json(*g.items[g.find_item("stem/conv2d")].op).at("pad"), Json({0, 0, 1, 1}));
  EXPECT_EQ(attributes_to_json(*g.items[g.find_item("block1/depthwise/depthwise_conv2d")].op).at("pad"),
            Json({1, 1, 1, 1}));
}

TEST(MobileNetV2, GroupsOfTiedChannelsAreThoseOfThePaper) {
  const std::vector<ChannelGroup> paper = channel_groups(model(10, "paper")),
                                  reference = channel_groups(model(10, "reference"));
  EXPECT_EQ(paper.size(), 25u);
  EXPECT_EQ(reference.size(), 26u);
  EXPECT_EQ(paper[0].name, "stem");
  EXPECT_EQ(paper[0].channels, 32);
  // The two 24-channel units share their channels: two filters make them, three read them.
  const auto tied = std::find_if(paper.begin(), paper.end(),
                                 [](const ChannelGroup& g) { return g.name == "block2/project"; });
  ASSERT_NE(tied, paper.end());
  EXPECT_EQ(tied->channels, 24);
  EXPECT_EQ(
      std::count_if(tied->members.begin(), tied->members.end(), [](const auto& m) { return m.produces; }), 2);
}

TEST(MobileNetV2, IsTheSameFunctionForTheSameSeedOnly) {
  const Tensor x = test::random_tensor({1, 64, 64, 3}, Device::kCpu, 1);
  const auto logits = [&](uint64_t seed) {
    return build_model({.name = "mobilenet_v2", .classes = 10}, 64, seed).run({x})[0].to_vector();
  };
  EXPECT_EQ(logits(3), logits(3));
  EXPECT_NE(logits(3), logits(4));
}

TEST(ModelTable, RefusesWhatItDoesNotKnow) {
  EXPECT_THROW(build_model({.name = "mobilenet_v4", .classes = 3}, 64, 1), Error);
  EXPECT_THROW(build_model({.name = "mobilenet_v2", .classes = 0}, 64, 1), Error);
  EXPECT_THROW(build_model({.name = "mobilenet_v2", .classes = 3, .options = {{"widht", 1.0}}}, 64, 1),
               Error);
  EXPECT_THROW(build_model({.name = "mobilenet_v2", .classes = 3, .options = {{"width", "big"}}}, 64, 1),
               Error);
  EXPECT_THROW(build_model({.name = "mobilenet_v2", .classes = 3, .options = {{"padding", "same"}}}, 64, 1),
               Error);
  EXPECT_THROW(build_model({.name = "mobilenet_v2", .classes = 3, .options = {{"width", 0.0}}}, 64, 1),
               Error);
}

}  // namespace
}  // namespace espalier
