#include "compress/group_filter.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "models/model_table.h"

namespace espalier {
namespace {

/// How many groups of a network the reference can prune, and how many there are.
std::pair<int, int> groups_of(const std::string& model) {
  const Graph graph = build_model({.name = model, .classes = 2}, 64, 1);
  const std::vector<ChannelGroup> groups = channel_groups(graph);
  const GroupPatterns& preset = find_model(model).reference_groups;
  const std::vector<bool> pass =
      filter_groups(graph, groups, {.include = preset.include, .exclude = preset.exclude});
  return {static_cast<int>(std::count(pass.begin(), pass.end(), true)), static_cast<int>(groups.size())};
}

TEST(ReferenceGroups, AreThoseThatTheReferencePrunes) {
  EXPECT_EQ(groups_of("mobilenet_v2"), std::pair(25, 25));
  EXPECT_EQ(groups_of("yolov3_mobilenet_v1"), std::pair(18, 34));
  EXPECT_EQ(groups_of("unet"), std::pair(14, 18));
}

}  // namespace
}  // namespace espalier
