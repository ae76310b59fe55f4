#include "graph/channel_groups.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "nn/layers.h"

namespace espalier {
namespace {

std::map<std::string, ChannelGroup> by_name(const Graph& g) {
  std::map<std::string, ChannelGroup> groups;
  for (const ChannelGroup& group : channel_groups(g)) EXPECT_TRUE(groups.emplace(group.name, group).second);
  return groups;
}

/// "a/w:0" for every member.
std::set<std::string> members_of(const Graph& g, const ChannelGroup& group) {
  std::set<std::string> names;
  for (const ChannelGroup::Member& m : group.members) names.insert(str(g.values[m.value].name, ":", m.axis));
  return names;
}

Graph traced(const ModelFunction& model) { return build_graph(model, 8, 8, 3, 1); }

Tensor filters(Scope s, const Tensor& x, int out) {
  return conv2d(x, s.param("w", {out, 1, 1, x.channels()}, he_normal));
}

using Names = std::set<std::string>;

TEST(ChannelGroups, AChainTiesFiltersNormAndReader) {
  const Graph g = traced([](Scope s, const Tensor& x) -> Tensors {
    return {filters(s / "b", conv_bn(s / "a", x, 5, {.kernel = 3, .act = Activation::relu()}), 4)};
  });
  const auto groups = by_name(g);
  ASSERT_EQ(groups.size(), 1u) << "the channels of b leave the network";
  const ChannelGroup& a = groups.at("a");
  EXPECT_EQ(a.channels, 5);
  EXPECT_EQ(members_of(g, a), (Names{"a/w:0", "a/norm/scale:0", "a/norm/shift:0", "a/norm/mean:0",
                                     "a/norm/variance:0", "b/w:3"}));
  for (const ChannelGroup::Member& m : a.members) {
    EXPECT_EQ(m.produces, g.values[m.value].name == "a/w");
    EXPECT_EQ(m.index, (std::vector<int>{0, 1, 2, 3, 4}));
  }
  EXPECT_EQ(a.tied_by.size(), a.members.size());
}

TEST(ChannelGroups, AResidualTiesBothSides) {
  const Graph g = traced([](Scope s, const Tensor& x) -> Tensors {
    const Tensor a = filters(s / "a", x, 6), b = filters(s / "b", relu(a), 6);
    return {filters(s / "c", add(a, b), 2)};
  });
  const auto groups = by_name(g);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(members_of(g, groups.at("a")), (Names{"a/w:0", "b/w:0", "b/w:3", "c/w:3"}));
}

TEST(ChannelGroups, ADepthwiseFilterFollowsItsProducer) {
  const Graph g = traced([](Scope s, const Tensor& x) -> Tensors {
    const Tensor d =
        depthwise_conv2d(filters(s / "a", x, 6), s.param("d/w", {3, 3, 6}, he_normal), {.pad = {1, 1, 1, 1}});
    return {filters(s / "c", d, 2)};
  });
  const auto groups = by_name(g);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(members_of(g, groups.at("a")), (Names{"a/w:0", "d/w:2", "c/w:3"}));
}

TEST(ChannelGroups, ConcatShiftsByWhatCameBefore) {
  const Graph g = traced([](Scope s, const Tensor& x) -> Tensors {
    const Tensor a = filters(s / "a", x, 3), b = filters(s / "b", x, 4);
    return {filters(s / "c", concat({a, b}), 2)};
  });
  const auto groups = by_name(g);
  ASSERT_EQ(groups.size(), 2u);
  const auto positions = [&](const std::string& group) {
    for (const ChannelGroup::Member& m : groups.at(group).members)
      if (g.values[m.value].name == "c/w") return m.index;
    return std::vector<int>{};
  };
  EXPECT_EQ(positions("a"), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(positions("b"), (std::vector<int>{3, 4, 5, 6}));
}

TEST(ChannelGroups, OneOperandTwiceInAConcatIsRemovedTwice) {
  const Graph g = traced([](Scope s, const Tensor& x) -> Tensors {
    const Tensor a = filters(s / "a", x, 3);
    return {filters(s / "c", concat({a, a}), 2)};
  });
  const std::vector<ChannelGroup> groups = channel_groups(g);
  ASSERT_EQ(groups.size(), 1u);
  std::set<int> positions;
  for (const ChannelGroup::Member& m : groups[0].members)
    if (g.values[m.value].name == "c/w") positions.insert(m.index.begin(), m.index.end());
  EXPECT_EQ(positions, (std::set<int>{0, 1, 2, 3, 4, 5}));
}

TEST(ChannelGroups, NetworkOutputsAndImageChannelsStay) {
  const Graph g = traced([](Scope s, const Tensor& x) -> Tensors {
    const Tensor a = filters(s / "a", x, 3);
    // b is tied to the image by an addition, c leaves the network, d is tied to what leaves it.
    const Tensor b = add(filters(s / "b", a, 3), x), c = filters(s / "c", b, 4);
    return {add(c, filters(s / "d", b, 4))};
  });
  const auto groups = by_name(g);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_TRUE(groups.contains("a"));
}

TEST(ChannelGroups, ALinearLayerReadsThroughTheGlobalPool) {
  const Graph g = traced([](Scope s, const Tensor& x) -> Tensors {
    const Tensor mean = global_avg_pool(filters(s / "a", x, 6));
    const Tensor hidden = fully_connected(s / "hidden", mean, 7);
    return {fully_connected(s / "head", relu(hidden), 5)};
  });
  const auto groups = by_name(g);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(members_of(g, groups.at("a")), (Names{"a/w:0", "hidden/w:1"}));
  EXPECT_EQ(members_of(g, groups.at("hidden")), (Names{"hidden/w:0", "hidden/bias:0", "head/w:1"}));
}

/// A network of random ops over tensors of one spatial size.
Graph random_graph(uint64_t seed) {
  return traced([seed](Scope s, const Tensor& x) -> Tensors {
    Random random(seed, Purpose::kTest);
    Tensors tensors = {x, filters(s / "first", x, 4), filters(s / "second", x, 3)};
    const int layers = 4 + random.below(10);
    for (int i = 0; i < layers; ++i) {
      const Scope here = s / str("layer", i);
      // One of the last three, so that most layers reach the output.
      const auto any = [&] {
        return tensors[tensors.size() - 1 - random.below(std::min<int>(3, tensors.size()))];
      };
      const Tensor a = any(), b = any();
      switch (random.below(6)) {
        case 0:
          tensors.push_back(filters(here, a, 2 + random.below(6)));
          break;
        case 1:
          tensors.push_back(norm(here, a));
          break;
        case 2:
          tensors.push_back(concat({a, b}));
          break;
        case 3:
          tensors.push_back(a.channels() == b.channels() ? add(a, b)
                                                         : add(a, filters(here, b, a.channels())));
          break;
        case 4:
          tensors.push_back(depthwise_conv2d(a, here.param("w", {1, 1, a.channels()}, ones)));
          break;
        default:
          tensors.push_back(relu(a));
      }
    }
    return {filters(s / "last", tensors.back(), 2)};
  });
}

TEST(ChannelGroups, OfRandomGraphsAreConsistent) {
  size_t found = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    const Graph g = random_graph(seed);
    const std::vector<ChannelGroup> groups = channel_groups(g);
    found += groups.size();
    // No channel of any parameter axis belongs to two groups or twice to one; indices lie on their axis.
    std::set<std::array<int, 3>> seen;
    for (const ChannelGroup& group : groups) {
      EXPECT_GT(group.channels, 0);
      EXPECT_EQ(group.tied_by.size(), group.members.size());
      bool produces = false;
      for (const ChannelGroup::Member& m : group.members) {
        ASSERT_TRUE(g.is_parameter(m.value));
        EXPECT_EQ(static_cast<int>(m.index.size()), group.channels);
        produces = produces || m.produces;
        for (int i : m.index) {
          EXPECT_LT(i, g.values[m.value].meta.shape[m.axis]);
          EXPECT_TRUE(seen.insert({m.value, m.axis, i}).second) << g.values[m.value].name << ' ' << i;
        }
      }
      EXPECT_TRUE(produces);
    }
    // The last filters make a network output: theirs stay.
    const int last = g.find("last/w");
    for (const ChannelGroup& group : groups)
      for (const ChannelGroup::Member& m : group.members) EXPECT_FALSE(m.value == last && m.axis == 0);
    // The same graph gives the same groups.
    const std::vector<ChannelGroup> again = channel_groups(random_graph(seed));
    ASSERT_EQ(again.size(), groups.size());
    for (size_t i = 0; i < groups.size(); ++i) EXPECT_EQ(again[i].name, groups[i].name);
  }
  EXPECT_GT(found, 200u);
}

}  // namespace
}  // namespace espalier
