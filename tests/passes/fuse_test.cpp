#include "passes/fuse.h"

#include <gtest/gtest.h>

#include <string>

#include "models/model_table.h"
#include "passes/example_graphs.h"
#include "passes/fold_batch_norm.h"
#include "support/expect_close.h"
#include "support/random_tensor.h"

namespace espalier {
namespace {

std::string names(const Graph& graph) {
  std::string all;
  for (const Graph::Item& item : graph.items) all += (all.empty() ? "" : " ") + std::string(item.op->name());
  return all;
}

/// The ops that are left, after checking that the outputs are the same.
std::string fused(const ModelFunction& model, int gone) {
  Graph graph = build_graph(model, 8, 6, 4, 1);
  test::randomise(graph, 9);
  Graph after = graph;
  EXPECT_EQ(fuse(after), gone) << graph;
  test::expect_same_outputs(graph, after, test::random_tensor({2, 8, 6, 4}, Device::kCpu, 2));
  return names(after);
}

Tensor pointwise(Scope s, const Tensor& x, int out) {
  return conv2d(x, s.param("w", {out, 1, 1, x.channels()}, he_normal));
}

TEST(Fuse, ActivationsGoIntoTheirProducers) {
  EXPECT_EQ(fused(
                [](Scope s, const Tensor& x) -> Tensors {
                  const Tensor y = relu6(pointwise(s / "a", x, 5));
                  const Tensor z = leaky_relu(depthwise_conv2d(y, s.param("w", {1, 1, 5}, ones)), 0.2f);
                  return {relu(linear(global_avg_pool(z), s.param("v", {3, 5}, he_normal)))};
                },
                3),
            "conv2d depthwise_conv2d global_avg_pool linear");
}

TEST(Fuse, TheSecondOfTwoActivationsStays) {
  EXPECT_EQ(
      fused([](Scope s,
               const Tensor& x) -> Tensors { return {relu6(leaky_relu(pointwise(s / "a", x, 5), 0.5f))}; },
            1),
      "conv2d activation");
}

TEST(Fuse, AResidualGoesIntoTheConvolutionAndTheActivationAfterItToo) {
  EXPECT_EQ(
      fused([](Scope s, const Tensor& x) -> Tensors { return {relu(add(x, pointwise(s / "a", x, 4)))}; }, 2),
      "conv2d");
  EXPECT_EQ(
      fused([](Scope s, const Tensor& x) -> Tensors { return {relu(add(pointwise(s / "a", x, 4), x))}; }, 2),
      "conv2d");
}

TEST(Fuse, AResidualThatIsMadeLaterIsWaitedFor) {
  EXPECT_EQ(fused(
                [](Scope s, const Tensor& x) -> Tensors {
                  const Tensor y = pointwise(s / "a", x, 4);
                  return {add(y, sigmoid(x))};
                },
                1),
            "sigmoid conv2d");
}

TEST(Fuse, OfTwoConvolutionsTheLaterTakesTheSum) {
  EXPECT_EQ(fused([](Scope s, const Tensor& x)
                      -> Tensors { return {relu(add(pointwise(s / "a", x, 4), pointwise(s / "b", x, 4)))}; },
                  2),
            "conv2d conv2d");
}

TEST(Fuse, AnActivationBeforeTheSumKeepsTheSumApart) {
  EXPECT_EQ(
      fused([](Scope s, const Tensor& x) -> Tensors { return {add(x, relu(pointwise(s / "a", x, 4)))}; }, 1),
      "conv2d add");
}

TEST(Fuse, WhatIsReadTwiceStays) {
  EXPECT_EQ(fused(
                [](Scope s, const Tensor& x) -> Tensors {
                  const Tensor y = pointwise(s / "a", x, 4);
                  return {relu(y), y};
                },
                0),
            "conv2d activation");
  EXPECT_EQ(fused(
                [](Scope s, const Tensor& x) -> Tensors {
                  const Tensor y = pointwise(s / "a", x, 4);
                  return {add(y, y)};
                },
                0),
            "conv2d add");
}

TEST(Fuse, DropoutGoesEvenAsAnOutput) {
  EXPECT_EQ(fused([](Scope s, const Tensor& x)
                      -> Tensors { return {dropout(relu(dropout(pointwise(s / "a", x, 4), 0.4f)), 0.2f)}; },
                  3),
            "conv2d");
  EXPECT_EQ(fused([](Scope, const Tensor& x) -> Tensors { return {sigmoid(dropout(x, 0.4f))}; }, 1),
            "sigmoid");
}

TEST(Fuse, AfterFoldingMobileNetV2HasOneOpALayer) {
  Graph graph = build_model({.name = "mobilenet_v2", .classes = 7, .options = {{"dropout", 0.2}}}, 64, 1);
  test::randomise(graph, 2);
  Graph after = graph;
  fold_batch_norm(after);
  fuse(after);
  EXPECT_EQ(after.items.size(), 52u + 2u) << after;  // convolutions; pool and classifier
  test::expect_same_outputs(graph, after, test::random_tensor({1, 64, 64, 3}, Device::kCpu, 3));
}

TEST(Fuse, KeepsTheOutputsOfBranches) {
  const Graph graph = test::branches(12, 14, 3);
  Graph after = graph;
  fold_batch_norm(after);
  EXPECT_GT(fuse(after), 0);
  test::expect_same_outputs(graph, after, test::random_tensor({2, 12, 14, 3}, Device::kCpu, 5));
}

}  // namespace
}  // namespace espalier
