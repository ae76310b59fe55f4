#include "passes/remove_channels.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "base/error.h"
#include "graph/cost.h"
#include "models/model_table.h"
#include "passes/example_graphs.h"
#include "passes/masking.h"
#include "runtime/session.h"
#include "support/random_tensor.h"

namespace espalier {
namespace {

/// A random choice of channels, at least one of each group left and, every third time, none removed.
std::vector<Removal> some_removals(const Graph& graph, Random& random) {
  std::vector<Removal> removals;
  for (const ChannelGroup& group : channel_groups(graph)) {
    std::vector<int> channels(static_cast<size_t>(group.channels));
    std::iota(channels.begin(), channels.end(), 0);
    shuffle(channels, random);
    channels.resize(random.below(3) == 0 ? 0 : static_cast<size_t>(random.below(group.channels)));
    removals.push_back({group, channels});
  }
  return removals;
}

int count(const std::vector<Removal>& removals) {
  int n = 0;
  for (const Removal& removal : removals) n += static_cast<int>(removal.channels.size());
  return n;
}

void expect_removal_is_masking(const Graph& graph, const std::vector<Removal>& removals, const Tensor& x) {
  Graph removed = graph;
  EXPECT_EQ(remove_channels(removed, removals), count(removals));
  const Graph mask = test::masked(graph, removals);
  test::expect_same_outputs(mask, removed, x);
  Session whole(mask), smaller(removed);
  test::expect_same(smaller.run({x}), whole.run({x}));
  if (count(removals) > 0) {
    EXPECT_LT(cost(removed).macs, cost(graph).macs);
  }
}

TEST(RemoveChannels, EqualsMaskingWithConcatsResidualsAndPooling) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed, Purpose::kTest);
    const Graph graph = test::tied(seed);
    expect_removal_is_masking(graph, some_removals(graph, random),
                              test::random_tensor({2, 8, 6, 3}, Device::kCpu, seed));
  }
}

class RemoveChannelsMobileNetV2 : public ::testing::TestWithParam<const char*> {
 protected:
  static Graph model(double width) {
    Graph graph = build_model({"mobilenet_v2", 10, {{"form", GetParam()}, {"width", width}}}, 32, 1);
    test::randomise(graph, 3);
    return graph;
  }
};

TEST_P(RemoveChannelsMobileNetV2, EqualsMasking) {
  const Graph graph = model(0.25);
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed, Purpose::kTest);
    expect_removal_is_masking(graph, some_removals(graph, random),
                              test::random_tensor({2, 32, 32, 3}, Device::kCpu, seed));
  }
}

TEST_P(RemoveChannelsMobileNetV2, EveryGroupAloneEqualsMasking) {
  const Graph graph = model(0.25);
  const Tensor x = test::random_tensor({1, 32, 32, 3}, Device::kCpu, 5);
  for (const ChannelGroup& group : channel_groups(graph)) {
    SCOPED_TRACE(group.name);
    expect_removal_is_masking(graph, {{group, {0, group.channels - 1}}}, x);
  }
}

TEST_P(RemoveChannelsMobileNetV2, GroupsAreThoseOfTheArchitecture) {
  const bool reference = std::string(GetParam()) == "reference";
  const Graph graph = model(1);
  const std::vector<ChannelGroup> groups = channel_groups(graph);
  // The stem, 16 or 17 expansions, 7 stages' ends (residuals tie the blocks of a stage), the head.
  EXPECT_EQ(groups.size(), reference ? 26u : 25u);
  std::vector<std::string> expansions;
  int filters = 0;
  for (const ChannelGroup& group : groups) {
    SCOPED_TRACE(group.name);
    EXPECT_EQ(group.members.size(), group.tied_by.size());
    bool made = false, read = false;
    for (size_t i = 0; i < group.members.size(); ++i) {
      const ChannelGroup::Member& m = group.members[i];
      const std::string& name = graph.values[m.value].name;
      EXPECT_EQ(m.index.size(), static_cast<size_t>(group.channels));
      EXPECT_EQ(group.tied_by[i], name.ends_with("depthwise/w")              ? "depthwise"
                                  : name.find("/norm/") != std::string::npos ? "per channel"
                                  : m.produces                               ? "makes it"
                                                                             : "reads it")
          << name;
      made |= m.produces;
      read |= group.tied_by[i] == "reads it";
      filters += m.produces;
    }
    EXPECT_TRUE(made && read);
    if (group.name.ends_with("/expand")) expansions.push_back(group.name);
  }
  EXPECT_EQ(expansions.size(), reference ? 17u : 16u);
  EXPECT_EQ(filters, reference ? 36 : 35) << "dense filters that lose outputs: all but the classifier";
  const auto find = [&](const std::string& name) {
    return *std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.name == name; });
  };
  EXPECT_EQ(find("stem").channels, 32);
  EXPECT_EQ(find("head").channels, 1280);
  EXPECT_EQ(find("block2/expand").channels, 96);
  // Three blocks end in the 32 channels of stage 3; three expansions read them: two in it, one behind it.
  const ChannelGroup stage = find("block4/project");
  EXPECT_EQ(stage.channels, 32);
  int makers = 0, readers = 0;
  for (size_t i = 0; i < stage.members.size(); ++i) {
    makers += stage.members[i].produces;
    readers += stage.tied_by[i] == "reads it";
  }
  EXPECT_EQ(makers, 3);
  EXPECT_EQ(readers, 3);
}

INSTANTIATE_TEST_SUITE_P(Forms, RemoveChannelsMobileNetV2, ::testing::Values("paper", "reference"),
                         [](const auto& info) { return std::string(info.param); });

/// The networks whose groups reach through concats, resizing and pooling, at a width that runs fast.
class RemoveChannelsNetworks : public ::testing::TestWithParam<ModelSpec> {
 protected:
  void SetUp() override {
    ModelSpec spec = GetParam();
    spec.options["width"] = 0.1;
    graph = build_model(spec, 64, 1);
    test::randomise(graph, 3);
  }
  Graph graph;
};

TEST_P(RemoveChannelsNetworks, EqualsMasking) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed, Purpose::kTest);
    expect_removal_is_masking(graph, some_removals(graph, random),
                              test::random_tensor({2, 64, 64, 3}, Device::kCpu, seed));
  }
}

TEST_P(RemoveChannelsNetworks, EveryGroupAloneEqualsMasking) {
  const Tensor x = test::random_tensor({1, 64, 64, 3}, Device::kCpu, 5);
  for (const ChannelGroup& group : channel_groups(graph)) {
    SCOPED_TRACE(group.name);
    expect_removal_is_masking(graph, {{group, {0, group.channels - 1}}}, x);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Networks, RemoveChannelsNetworks,
    ::testing::Values(ModelSpec{"mobilenet_v1", 10, Json::object()}, ModelSpec{"unet", 2, Json::object()},
                      ModelSpec{"unet", 2, {{"upsampling", "nearest"}, {"logits", "single"}}},
                      ModelSpec{"yolov3_mobilenet_v1", 4, Json::object()},
                      ModelSpec{"yolov3_mobilenet_v1", 4, {{"tap", "early"}, {"activation", "relu6"}}}),
    [](const auto& info) { return info.param.name + "_" + std::to_string(info.index); });

TEST(RemoveChannels, AChannelThatIsSilentAnywayChangesNothing) {
  Graph graph = test::tied(4);
  const std::vector<ChannelGroup> groups = channel_groups(graph);
  std::vector<Removal> removals;
  for (const ChannelGroup& group : groups) removals.push_back({group, {1, group.channels - 2}});
  graph = test::masked(graph, removals);
  Graph smaller = graph;
  remove_channels(smaller, removals);
  test::expect_same_outputs(graph, smaller, test::random_tensor({2, 8, 6, 3}));
}

TEST(RemoveChannels, LeavesTheGivenTensorsAlone) {
  const Graph graph = test::tied(5), copy = graph.clone();
  Graph smaller = graph;  // shares its parameters
  const ChannelGroup group = channel_groups(graph).front();
  EXPECT_EQ(remove_channels(smaller, {{group, {2, 0}}}), 2);
  for (size_t v = 0; v < graph.values.size(); ++v) {
    if (!graph.is_parameter(static_cast<int>(v))) continue;
    EXPECT_EQ(graph.values[v].param.to_vector(), copy.values[v].param.to_vector()) << graph.values[v].name;
    const bool member = std::any_of(group.members.begin(), group.members.end(),
                                    [&](const auto& m) { return m.value == static_cast<int>(v); });
    EXPECT_EQ(smaller.values[v].param.same(graph.values[v].param), !member) << graph.values[v].name;
    EXPECT_EQ(smaller.values[v].trainable, graph.values[v].trainable);
  }
  graph.verify();
}

TEST(RemoveChannels, TwoCutsAreOneCut) {
  const Graph graph = test::tied(6);
  Graph once = graph, twice = graph;
  const ChannelGroup group = channel_groups(graph).front();
  remove_channels(once, {{group, {1, 3, 4}}});
  remove_channels(twice, {{group, {3}}});
  remove_channels(twice, {{channel_groups(twice).front(), {1, 3}}});  // 4 is 3 by then
  EXPECT_EQ(once.hash(), twice.hash());
}

TEST(RemoveChannels, WorksOnShapesWithoutValues) {
  Graph graph = test::tied(7);
  for (Graph::Value& v : graph.values)
    if (v.param.defined()) v.param = Tensor::without_data(v.param.meta());
  const ChannelGroup group = channel_groups(graph).front();
  remove_channels(graph, {{group, {0, 1, 2, 3}}});
  EXPECT_EQ(graph.values[group.members.front().value].meta.shape[0], 5);
  EXPECT_FALSE(graph.values[group.members.front().value].param.has_data());
}

std::string message_of(Graph graph, const Removal& removal) {
  const uint64_t before = graph.hash();
  try {
    remove_channels(graph, {removal});
  } catch (const Error& e) {
    EXPECT_EQ(graph.hash(), before);
    return e.what();
  }
  return "no error";
}

TEST(RemoveChannels, SaysWhatIsWrong) {
  const Graph graph = test::tied(8);
  const ChannelGroup group = channel_groups(graph).front();
  EXPECT_EQ(message_of(graph, {group, {9}}),
            "remove_channels: group 'a' has 9 channels, channel 9 was to go");
  EXPECT_EQ(message_of(graph, {group, {-1}}),
            "remove_channels: group 'a' has 9 channels, channel -1 was to go");
  EXPECT_EQ(message_of(graph, {group, {3, 3}}), "remove_channels: channel 3 of group 'a' is given twice");
  EXPECT_EQ(message_of(graph, {group, {0, 1, 2, 3, 4, 5, 6, 7, 8}}),
            "remove_channels: all 9 channels of group 'a' were to go; at least one must stay");
  EXPECT_NE(message_of(graph, {{}, {0}}).find("is empty"), std::string::npos);
  Graph smaller = graph;
  remove_channels(smaller, {{group, {0}}});
  EXPECT_NE(message_of(smaller, {group, {0}}).find("of the same graph"), std::string::npos);
}

}  // namespace
}  // namespace espalier
