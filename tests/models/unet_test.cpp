#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "graph/channel_groups.h"
#include "graph/cost.h"
#include "models/model_table.h"
#include "support/random_tensor.h"

namespace espalier {
namespace {

Graph model(int classes, const Json& options = Json::object(), int size = 32) {
  return build_model({.name = "unet", .classes = classes, .options = options}, size, 1);
}

TEST(UNet, HasThePublishedParametersAndWork) {
  const Cost c = cost(model(2, {}, 512));
  EXPECT_EQ(c.parameters, 13392448);
  EXPECT_EQ(c.bytes, int64_t{4} * 13400384);  // with running statistics
  EXPECT_NEAR(static_cast<double>(c.macs), 123.97e9, 0.01e9);
}

TEST(UNet, GivesLogitsOfThePicturesExtents) {
  for (const char* upsampling : {"bilinear", "nearest"}) {
    const Graph g = model(3, {{"width", 0.1}, {"upsampling", upsampling}});
    const NoGrad no_grad;
    EXPECT_EQ(g.run({test::random_tensor({2, 37, 50, 3})})[0].shape(), (Shape{2, 37, 50, 3}));
  }
}

TEST(UNet, OptionsReachTheLayers) {
  const Graph g = model(2),
              other = model(2, {{"logits", "single"}, {"upsampling", "nearest"}, {"norm_momentum", 0.1}});
  EXPECT_EQ(g.values[g.find("logits/w")].meta.shape, (Shape{2, 3, 3, 64}));
  EXPECT_EQ(other.values[other.find("logits/w")].meta.shape, (Shape{1, 3, 3, 64}));
  const auto attribute = [](const Graph& graph, const char* item, const char* name) {
    return attributes_to_json(*graph.items[graph.find_item(item)].op).at(name);
  };
  EXPECT_EQ(attribute(g, "decode1/resize", "bilinear"), Json(true));
  EXPECT_EQ(attribute(g, "decode1/resize", "align_corners"), Json(true));
  EXPECT_EQ(attribute(other, "decode1/resize", "bilinear"), Json(false));
  EXPECT_EQ(attribute(g, "encode1/conv0/batch_norm", "momentum").get<float>(), 0.01f);
  EXPECT_EQ(attribute(other, "encode1/conv0/batch_norm", "momentum").get<float>(), 0.1f);
}

TEST(UNet, EveryFilterButTheLogitsIsPrunable) {
  const Graph g = model(2);
  const std::vector<ChannelGroup> groups = channel_groups(g);
  EXPECT_EQ(groups.size(), 18u);
  // The four skip feeders stand behind the upsampled channels in what the decoder reads.
  const struct {
    const char *feeder, *reader;
    int first;
  } skips[] = {{"encode1/conv1", "decode4/conv0/w", 64},
               {"encode2/conv1", "decode3/conv0/w", 128},
               {"encode3/conv1", "decode2/conv0/w", 256},
               {"encode4/conv1", "decode1/conv0/w", 512}};
  for (const auto& skip : skips) {
    SCOPED_TRACE(skip.feeder);
    const auto group =
        std::find_if(groups.begin(), groups.end(), [&](const auto& c) { return c.name == skip.feeder; });
    ASSERT_NE(group, groups.end());
    const auto reader = std::find_if(group->members.begin(), group->members.end(),
                                     [&](const auto& m) { return g.values[m.value].name == skip.reader; });
    ASSERT_NE(reader, group->members.end());
    EXPECT_EQ(reader->index.front(), skip.first);
  }
}

TEST(UNet, RefusesWhatCannotBe) {
  EXPECT_THROW(model(2, {}, 15), Error);
  EXPECT_THROW(model(3, {{"logits", "single"}}), Error);
  EXPECT_THROW(model(2, {{"norm_momentum", 0}}), Error);
}

}  // namespace
}  // namespace espalier
