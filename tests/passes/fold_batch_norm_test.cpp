#include "passes/fold_batch_norm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "models/model_table.h"
#include "ops/batch_norm.h"
#include "ops/conv2d.h"
#include "passes/example_graphs.h"
#include "support/expect_close.h"
#include "support/random_tensor.h"

namespace espalier {
namespace {

using test::expect_same_outputs;

template <class T>
int count(const Graph& graph) {
  return static_cast<int>(std::count_if(graph.items.begin(), graph.items.end(),
                                        [](const Graph::Item& item) { return item.as<T>() != nullptr; }));
}

TEST(FoldBatchNorm, KeepsTheOutputs) {
  const Graph graph = test::branches(12, 14, 3);
  Graph folded = graph;
  EXPECT_EQ(fold_batch_norm(folded), 5);
  EXPECT_EQ(count<BatchNorm>(folded), 0);
  expect_same_outputs(graph, folded, test::random_tensor({2, 12, 14, 3}, Device::kCpu, 5));
}

TEST(FoldBatchNorm, KeepsTheOutputsOfMobileNetV2) {
  for (const char* form : {"paper", "reference"}) {
    Graph graph = build_model({.name = "mobilenet_v2", .classes = 7, .options = {{"form", form}}}, 64, 1);
    test::randomise(graph, 2);
    Graph folded = graph;
    EXPECT_EQ(fold_batch_norm(folded), count<BatchNorm>(graph));
    EXPECT_EQ(count<BatchNorm>(folded), 0);
    expect_same_outputs(graph, folded, test::random_tensor({1, 64, 64, 3}, Device::kCpu, 5));
  }
}

TEST(FoldBatchNorm, LeavesTheParametersOfTheSourceAlone) {
  const Graph graph = test::branches(8, 8, 3);
  const uint64_t before = graph.hash();
  Graph folded = graph;
  fold_batch_norm(folded);
  EXPECT_EQ(graph.hash(), before);
  EXPECT_GE(folded.find("a/bias"), 0) << folded;
}

Tensor conv(Scope s, const Tensor& x, int out) {
  return conv2d(x, s.param("w", {out, 3, 3, x.channels()}, he_normal), {.pad = {1, 1, 1, 1}});
}

void expect_folds(const ModelFunction& model, int folds) {
  Graph graph = build_graph(model, 9, 7, 4, 1);
  test::randomise(graph, 4);
  Graph folded = graph;
  EXPECT_EQ(fold_batch_norm(folded), folds) << graph;
  expect_same_outputs(graph, folded, test::random_tensor({1, 9, 7, 4}, Device::kCpu, 6));
}

TEST(FoldBatchNorm, LeavesAConvolutionThatIsReadTwice) {
  expect_folds(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor y = conv(s / "c", x, 4);
        return {add(norm(s / "n", y), y)};
      },
      0);
}

TEST(FoldBatchNorm, LeavesAConvolutionThatIsAnOutput) {
  expect_folds(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor y = conv(s / "c", x, 4);
        return {norm(s / "n", y), y};
      },
      0);
}

TEST(FoldBatchNorm, LeavesANormWithoutAConvolutionBefore) {
  expect_folds(
      [](Scope s, const Tensor& x) -> Tensors {
        return {norm(s / "second", activation(conv(s / "c", norm(s / "first", x), 6), Activation::relu()))};
      },
      0);
}

TEST(FoldBatchNorm, FoldsTwoNormsInARow) {
  expect_folds(
      [](Scope s, const Tensor& x) -> Tensors {
        return {norm(s / "n2", norm(s / "n1", conv(s / "c", x, 6)))};
      },
      2);
}

TEST(FoldBatchNorm, FoldsIntoABias) {
  expect_folds(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor w = s.param("w", {6, 1, 1, 4}, he_normal), bias = s.param("bias", {6}, zeros);
        return {norm(s / "n", conv2d(x, w, {.bias = bias}))};
      },
      1);
}

TEST(FoldBatchNorm, GivesEachReaderOfSharedFiltersItsOwn) {
  expect_folds(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor w = s.param("w", {4, 1, 1, 4}, he_normal);
        const Tensor y = norm(s / "n1", conv2d(x, w));
        return {norm(s / "n2", conv2d(y, w)), conv2d(y, w)};
      },
      2);
}

TEST(FoldBatchNorm, MovesTheNormsActivationAndResidual) {
  expect_folds(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor y = conv(s / "c", x, 4), late = sigmoid(x);
        const Shape c{4};
        return {batch_norm(y, s.param("scale", c, ones), s.param("shift", c, zeros),
                           s.param("mean", c, zeros, false), s.param("variance", c, ones, false),
                           {.act = Activation::relu6(), .residual = late})};
      },
      1);
}

TEST(FoldBatchNorm, LeavesAConvolutionWithItsOwnActivation) {
  expect_folds(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor w = s.param("w", {6, 1, 1, 4}, he_normal);
        return {norm(s / "n", conv2d(x, w, {.act = Activation::relu()}))};
      },
      0);
}

}  // namespace
}  // namespace espalier
