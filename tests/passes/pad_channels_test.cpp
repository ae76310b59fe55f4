#include "passes/pad_channels.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"
#include "graph/channel_groups.h"
#include "models/model_table.h"
#include "passes/quantize.h"
#include "passes/quantized_network.h"
#include "passes/remove_channels.h"

namespace espalier {
namespace {

int lacking(const Graph& graph, int unit) {
  int channels = 0;
  for (const ChannelGroup& group : channel_groups(graph)) channels += (unit - group.channels % unit) % unit;
  return channels;
}

/// Pads a copy and checks that no group lacks a channel and that outputs stay; returns how many channels
/// came.
int pad(const Graph& graph, int unit, const Tensor& x) {
  const int lacked = lacking(graph, unit);
  Graph padded = graph;
  EXPECT_EQ(pad_channels(padded, unit), lacked);
  EXPECT_EQ(lacking(padded, unit), 0);
  test::expect_same_outputs(graph, padded, x);
  return lacked;
}

/// Every group loses an odd number of its channels, where it has more than three.
Graph cut(Graph graph) {
  std::vector<Removal> removals;
  for (const ChannelGroup& group : channel_groups(graph)) {
    if (group.channels < 4) continue;
    Removal removal{group, std::vector<int>(static_cast<size_t>(group.channels / 4 * 2 - 1))};
    std::iota(removal.channels.begin(), removal.channels.end(), 1);
    removals.push_back(std::move(removal));
  }
  remove_channels(graph, removals);
  return graph;
}

TEST(PadChannels, FillsGroupsUpAndKeepsTheOutputs) {
  for (const int unit : {2, 4, 8, 16, 5}) {
    SCOPED_TRACE(unit);
    EXPECT_GT(pad(test::tied(3), unit, test::random_tensor({2, 8, 6, 3}, Device::kCpu, 4)), 0);
  }
}

TEST(PadChannels, KeepsTheOutputsOfPrunedNetworks) {
  for (const ModelEntry& entry : model_table()) {
    SCOPED_TRACE(entry.name);
    Graph graph = build_model({.name = entry.name, .classes = 5}, 32, 1);
    test::randomise(graph, 8);
    EXPECT_GT(pad(cut(std::move(graph)), 16, test::random_tensor({1, 32, 32, 3}, Device::kCpu, 1)), 0);
  }
}

TEST(PadChannels, KeepsTheBitsOfInt8) {
  const Graph fp32 = prepare_for_quantization(cut(test::small_network()));
  const Tensor x = test::random_tensor({3, 20, 20, 3}, Device::kCpu, 3);
  const Graph int8 = quantize(fp32, test::ranges_of(fp32, x), {});
  Graph padded = int8;
  EXPECT_EQ(pad_channels(padded, 16), lacking(int8, 16));
  EXPECT_NE(padded.hash(), int8.hash());
  const NoGrad no_grad;
  EXPECT_EQ(padded.run({x})[0].to_vector(), int8.run({x})[0].to_vector());
}

TEST(PadChannels, LeavesTheGivenParametersAndWholeGroups) {
  const Graph graph = test::tied(3);
  const uint64_t before = graph.hash();
  Graph padded = graph;
  pad_channels(padded, 8);
  EXPECT_EQ(graph.hash(), before);
  Graph again = padded;
  EXPECT_EQ(pad_channels(again, 8), 0);
  EXPECT_EQ(pad_channels(again, 4), 0);
  for (size_t v = 0; v < again.values.size(); ++v)
    EXPECT_TRUE(again.values[v].param.same(padded.values[v].param));
}

TEST(PadChannels, NamesAWrongUnit) {
  Graph graph = test::tied(3);
  EXPECT_THROW(pad_channels(graph, 0), Error);
}

}  // namespace
}  // namespace espalier
