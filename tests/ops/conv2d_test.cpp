#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "ops/conv2d.h"
#include "ops/ops.h"
#include "support/messages.h"

namespace espalier::test {
namespace {

TEST(Conv2dInput, ErrorsSayWhatIsAndWhatWasExpected) {
  const Tensor x({1, 4, 5, 3}), w({2, 3, 3, 3});
  EXPECT_EQ(message_of([&] {
              conv2d(x, Tensor({2, 3, 3, 4}));
            }),
            "conv2d: x has 3 channels but w expects 4 (x [1,4,5,3], w [2,3,3,4])");
  expect_says(message_of([&] { conv2d(x, Tensor({3, 3, 3})); }), "w is [3,3,3]");
  expect_says(message_of([&] { conv2d(x, Tensor({2, 7, 3, 3})); }), "a 7x3 filter does not fit");
  expect_says(message_of([&] { conv2d(x, w, {.stride = 0}); }), "stride is 0");
  expect_says(message_of([&] { conv2d(x, w, {.pad = {1, -1, 0, 0}}); }), "1,-1,0,0");
  expect_says(message_of([&] { conv2d(x, w, {.bias = Tensor({3})}); }), "bias is [3], expected [2]");
  expect_says(message_of([&] { conv2d(x, w, {.residual = Tensor({1, 2, 3, 3})}); }), "residual is [1,2,3,3]");
  expect_says(message_of([&] { conv2d(x, w, {.act = {-0.5f, 6.0f}}); }), "slope -0.5");
  expect_says(message_of([&] { conv2d(Tensor({1, 4, 5, 3}, Device::kCpu, DType::kS8), w); }), "expected f32");
  expect_says(message_of([&] { conv2d(Tensor({0, 4, 5, 3}), w); }), "no extent may be 0");
}

TEST(Conv2dAttributes, SurviveJson) {
  Conv2d op;
  op.stride = 2;
  op.pad = {1, 2, 3, 4};
  op.act = Activation::relu6();
  op.has_bias = true;
  Conv2d copy;
  attributes_from_json(copy, attributes_to_json(op));
  EXPECT_EQ(copy.stride, 2);
  EXPECT_EQ(copy.pad, op.pad);
  EXPECT_EQ(copy.act, op.act);
  EXPECT_TRUE(copy.has_bias);
  EXPECT_FALSE(copy.has_residual);
}

TEST(Conv2dCost, CountsMultiplications) {
  const Metas in = {{{2, 5, 6, 3}}, {{4, 3, 3, 3}}};
  Conv2d op;
  op.pad = {1, 1, 1, 1};
  EXPECT_EQ(op.macs(in, op.infer(in)), 2 * 5 * 6 * 4 * 27);
}

}  // namespace
}  // namespace espalier::test
