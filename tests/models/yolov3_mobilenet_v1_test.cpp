#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "graph/channel_groups.h"
#include "graph/cost.h"
#include "models/model_table.h"
#include "support/random_tensor.h"

namespace espalier {
namespace {

Graph model(int classes, const Json& options = Json::object(), int size = 64) {
  return build_model({.name = "yolov3_mobilenet_v1", .classes = classes, .options = options}, size, 1);
}

TEST(YoloV3, HasThePublishedParametersAndWork) {
  const Cost c = cost(model(6, {}, 608));
  EXPECT_EQ(c.parameters, 24172707);
  EXPECT_EQ(c.bytes, int64_t{4} * 24211491);  // with running statistics
  EXPECT_NEAR(static_cast<double>(c.macs), 21.59e9, 0.005e9);
  EXPECT_EQ(cost(model(20)).parameters, 24248097);
  EXPECT_EQ(cost(model(80, {{"tap", "early"}})).parameters, 24571197);
}

TEST(YoloV3, GivesThreeHeadsFromCoarseToFine) {
  const Graph g = model(6, {{"width", 0.25}}, 96);
  const NoGrad no_grad;
  const Tensors heads = g.run({test::random_tensor({2, 96, 96, 3})});
  ASSERT_EQ(heads.size(), 3u);
  EXPECT_EQ(heads[0].shape(), (Shape{2, 3, 3, 33}));
  EXPECT_EQ(heads[1].shape(), (Shape{2, 6, 6, 33}));
  EXPECT_EQ(heads[2].shape(), (Shape{2, 12, 12, 33}));
  // The same graph at another size: multi-scale training.
  EXPECT_EQ(g.run({test::random_tensor({1, 64, 128, 3})})[2].shape(), (Shape{1, 8, 16, 33}));
}

/// The layer that makes the 1/16 map which the second head joins.
std::string tapped(const Graph& g) {
  const Graph::Item& join = g.items[g.find_item("yolo_transition0/concat")];
  std::string name;
  for (int v = join.in[1]; name.find("/conv2d") == std::string::npos; v = g.items[g.producer(v)].in[0])
    name = g.items[g.producer(v)].name;
  return name;
}

TEST(YoloV3, TapsTheBackboneLateOrEarly) {
  EXPECT_EQ(tapped(model(6)), "backbone/block11/pointwise/conv2d");
  EXPECT_EQ(tapped(model(6, {{"tap", "early"}})), "backbone/block6/pointwise/conv2d");
}

TEST(YoloV3, EveryFilterButTheOutputsIsPrunable) {
  const Graph g = model(6);
  const std::vector<ChannelGroup> groups = channel_groups(g);
  EXPECT_EQ(groups.size(), 34u);  // 14 of the backbone, 18 of the blocks, 2 transitions
  const auto count = [&](const char* prefix) {
    return std::count_if(groups.begin(), groups.end(),
                         [&](const ChannelGroup& group) { return group.name.starts_with(prefix); });
  };
  EXPECT_EQ(count("backbone/"), 14);
  EXPECT_EQ(count("yolo_block"), 18);
  EXPECT_EQ(count("yolo_transition"), 2);
}

TEST(YoloV3, TransitionsAndTapsKeepTheirPlacesInTheConcat) {
  const Graph g = model(6);
  const std::vector<ChannelGroup> groups = channel_groups(g);
  const auto index_in_next_block = [&](const std::string& name, const char* reader) {
    const auto group =
        std::find_if(groups.begin(), groups.end(), [&](const auto& c) { return c.name == name; });
    for (const ChannelGroup::Member& m : group->members)
      if (g.values[m.value].name == reader && m.axis == 3) return m.index.front();
    return -1;
  };
  EXPECT_EQ(index_in_next_block("yolo_transition0", "yolo_block1/conv0/w"), 0);
  EXPECT_EQ(index_in_next_block("backbone/block11/pointwise", "yolo_block1/conv0/w"), 256);
  EXPECT_EQ(index_in_next_block("yolo_transition1", "yolo_block2/conv0/w"), 0);
  EXPECT_EQ(index_in_next_block("backbone/block4/pointwise", "yolo_block2/conv0/w"), 128);
}

TEST(YoloV3, RefusesOtherExtents) {
  EXPECT_THROW(model(6, {}, 300), Error);
  EXPECT_THROW(model(6, {{"anchors_per_head", 0}}), Error);
  EXPECT_THROW(model(6, {{"anchors_per_head", 2.5}}), Error);
}

}  // namespace
}  // namespace espalier
