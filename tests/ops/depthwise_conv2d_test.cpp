#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "ops/conv2d.h"
#include "ops/ops.h"
#include "support/messages.h"

namespace espalier::test {
namespace {

TEST(DepthwiseConv2dInput, ErrorsSayWhatIsAndWhatWasExpected) {
  const Tensor x({1, 4, 5, 3}), w({3, 3, 3});
  EXPECT_EQ(message_of([&] {
              depthwise_conv2d(x, Tensor({3, 3, 4}));
            }),
            "depthwise_conv2d: x has 3 channels but w has 4 (x [1,4,5,3], w [3,3,4]); one filter a channel "
            "is needed");
  expect_says(message_of([&] { depthwise_conv2d(x, Tensor({2, 3, 3, 3})); }), "w is [2,3,3,3]");
  expect_says(message_of([&] { depthwise_conv2d(x, Tensor({7, 3, 3})); }), "a 7x3 filter does not fit");
  expect_says(message_of([&] { depthwise_conv2d(x, w, {.bias = Tensor({2})}); }),
              "bias is [2], expected [3]");
}

TEST(DepthwiseConv2dAttributes, SurviveJson) {
  DepthwiseConv2d op;
  op.stride = 2;
  op.pad = {1, 2, 3, 4};
  op.act = Activation::relu6();
  op.has_bias = true;
  DepthwiseConv2d copy;
  attributes_from_json(copy, attributes_to_json(op));
  EXPECT_EQ(copy.stride, 2);
  EXPECT_EQ(copy.pad, op.pad);
  EXPECT_EQ(copy.act, op.act);
  EXPECT_TRUE(copy.has_bias);
  EXPECT_FALSE(copy.has_residual);
}

TEST(DepthwiseConv2dCost, CountsMultiplications) {
  const Metas in = {{{2, 5, 6, 4}}, {{3, 3, 4}}};
  DepthwiseConv2d op;
  op.pad = {1, 1, 1, 1};
  EXPECT_EQ(op.macs(in, op.infer(in)), 2 * 5 * 6 * 4 * 9);
}

}  // namespace
}  // namespace espalier::test
