#include "passes/split_concat.h"

#include <gtest/gtest.h>

#include "models/model_table.h"
#include "passes/example_graphs.h"
#include "passes/fold_batch_norm.h"
#include "passes/fuse.h"
#include "support/expect_close.h"
#include "support/random_tensor.h"

namespace espalier {
namespace {

/// Checks that the outputs stay the same; returns how many concats went.
int split(const ModelFunction& model) {
  Graph graph = build_graph(model, 9, 7, 6, 1);
  test::randomise(graph, 9);
  Graph after = graph;
  fuse(after);
  const int gone = split_concat(after);
  test::expect_same_outputs(graph, after, test::random_tensor({2, 9, 7, 6}, Device::kCpu, 2));
  return gone;
}

Tensor conv3x3(Scope s, const Tensor& x, int out, bool bias = false) {
  ConvOptions options{.pad = {1, 1, 1, 1}};
  const Tensor w = s.param("w", {out, 3, 3, x.channels()}, he_normal);
  if (bias) options.bias = s.param("bias", {out}, zeros);
  return conv2d(x, w, options);
}

TEST(SplitConcat, EachPartIsConvolvedAlone) {
  EXPECT_EQ(split([](Scope s, const Tensor& x) -> Tensors {
              const Tensor a = relu(conv3x3(s / "a", x, 5)), b = relu(conv3x3(s / "b", x, 4)), c = sigmoid(x);
              return {leaky_relu(conv3x3(s / "y", concat({a, b, c}), 7, true), 0.1f)};
            }),
            1);
}

TEST(SplitConcat, AConcatOfTheSameTensorTwiceIsTwoParts) {
  EXPECT_EQ(split([](Scope s, const Tensor& x) -> Tensors {
              return {conv3x3(s / "y", concat({x, x}), 3)};
            }),
            1);
}

TEST(SplitConcat, LeavesWhatSomebodyElseReads) {
  EXPECT_EQ(split([](Scope s, const Tensor& x) -> Tensors {
              const Tensor both = concat({x, sigmoid(x)});
              return {conv3x3(s / "y", both, 3), relu(both)};
            }),
            0);
}

TEST(SplitConcat, LeavesWhatTheGraphGives) {
  EXPECT_EQ(split([](Scope, const Tensor& x) -> Tensors { return {concat({x, sigmoid(x)})}; }), 0);
}

TEST(SplitConcat, LeavesConvolutionsThatMakeMoreThanTheyRead) {
  EXPECT_EQ(split([](Scope s, const Tensor& x) -> Tensors {
              return {conv3x3(s / "y", concat({x, sigmoid(x)}), 12)};
            }),
            0);
}

TEST(SplitConcat, LeavesConvolutionsWithAResidual) {
  EXPECT_EQ(split([](Scope s, const Tensor& x) -> Tensors {
              return {add(x, conv3x3(s / "y", concat({x, sigmoid(x)}), 6))};
            }),
            0);
}

TEST(SplitConcat, UNetAndTheDetectorKeepTheirOutputs) {
  for (const ModelSpec& spec : {ModelSpec{.name = "unet", .classes = 2, .options = {{"width", 0.125}}},
                                ModelSpec{.name = "yolov3_mobilenet_v1", .classes = 3}}) {
    Graph graph = build_model(spec, 64, 1);
    test::randomise(graph, 9);
    Graph after = graph;
    fold_batch_norm(after);
    fuse(after);
    EXPECT_EQ(split_concat(after), spec.name == "unet" ? 4 : 2) << spec.name;
    test::expect_same_outputs(graph, after, test::random_tensor({1, 64, 64, 3}, Device::kCpu, 2));
  }
}

}  // namespace
}  // namespace espalier
