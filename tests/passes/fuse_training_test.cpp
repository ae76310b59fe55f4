#include "passes/fuse_training.h"

#include <gtest/gtest.h>

#include "models/model_table.h"
#include "ops/activation.h"
#include "ops/add.h"
#include "ops/autograd.h"
#include "ops/batch_norm.h"
#include "passes/example_graphs.h"
#include "support/random_tensor.h"

namespace espalier {
namespace {

using test::random_tensor;

template <class T>
int count(const Graph& g) {
  return static_cast<int>(
      std::count_if(g.items.begin(), g.items.end(), [](const Graph::Item& item) { return item.as<T>(); }));
}

/// Residuals on either side of the addition, made before and after the norm, with and without activation.
Graph residuals(uint64_t seed) {
  Graph graph = build_graph(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor a = conv_bn(s / "a", x, 6, {.kernel = 3, .act = Activation::leaky(0.2f)});
        const Tensor b = add(a, conv_bn(s / "b", a, 6, {.kernel = 1}));
        const Tensor c = relu6(add(conv_bn(s / "c", b, 6, {.kernel = 3}), sigmoid(b)));
        const Tensor late = conv_bn(s / "late", c, 6, {.kernel = 1});
        const Tensor d = relu(add(late, conv_bn(s / "other", c, 6, {.kernel = 1})));
        return {fully_connected(s / "head", global_avg_pool(d), 5)};
      },
      9, 7, 3, seed);
  test::randomise(graph, seed);
  return graph;
}

std::vector<Tensor> parameters(const Graph& g) {
  std::vector<Tensor> all;
  for (const Graph::Value& v : g.values)
    if (v.param.defined()) all.push_back(v.param);
  return all;
}

/// Both graphs have parameters of their own, by the same names.
void expect_same_parameters(const Graph& got, const Graph& want) {
  const std::vector<Tensor> a = parameters(got), b = parameters(want);
  test::expect_same(a, b);
}

TEST(FuseTraining, OutputsDoNotChange) {
  for (const Graph& plain : {residuals(1), test::branches(11, 9, 2)})
    for (const bool training : {true, false}) {
      const TrainingMode mode(training);
      Graph fused = plain.clone();
      EXPECT_GT(fuse_training(fused), 0);
      set_dropout_step(1, 2);
      const Graph reference = plain.clone();
      const Shape in = plain.values[plain.inputs[0]].meta.shape;
      test::expect_same_outputs(reference, fused, random_tensor({4, in[1], in[2], 3}));
      expect_same_parameters(fused, reference);  // running statistics moved alike
    }
}

TEST(FuseTraining, TakesInAllThatFits) {
  Graph g = residuals(1);
  const size_t items = g.items.size();
  // a and its activation; b's addition; c's addition and activation; one of the last two norms, with both.
  const int fused = fuse_training(g);
  EXPECT_EQ(fused, 6);
  EXPECT_EQ(g.items.size(), items - 6);
  EXPECT_EQ(count<Add>(g), 0);
  EXPECT_EQ(count<ActivationOp>(g), 0);
  EXPECT_EQ(count<BatchNorm>(g), 5);
  EXPECT_EQ(fuse_training(g), 0) << "a second time there is nothing left";
}

TEST(FuseTraining, LeavesWhatOthersRead) {
  Graph g = build_graph(
      [](Scope s, const Tensor& x) -> Tensors {
        const Tensor twice = norm(s / "twice", x);         // read by two ops
        const Tensor self = norm(s / "self", sigmoid(x));  // both operands of one addition
        const Tensor output = norm(s / "output", add(relu(twice), sigmoid(twice)));  // a network output
        const Tensor late = relu(x);  // the activation comes before the addition
        const Tensor act = relu(norm(s / "act", late));
        return {output, relu(output), add(self, self), add(act, late)};
      },
      4, 5, 3, 1);
  EXPECT_EQ(fuse_training(g), 1);  // "act" with its relu only
  EXPECT_EQ(count<Add>(g), 3);
  g.verify();
}

/// Gradients of all trainable parameters for one batch.
Tensors gradients(const Graph& g, const Tensor& x, const Tensor& labels) {
  g.require_gradients();
  const TrainingMode training;
  set_dropout_step(1, 2);
  backward(softmax_cross_entropy(g.run({x})[0], labels));
  Tensors all;
  for (const Tensor& t : g.trainable()) {
    all.push_back(t.grad());
    t.clear_grad();
  }
  return all;
}

/// Against the largest of all gradients: a shift that the next norm takes away has only rounding left.
void expect_same_gradients(const Tensors& got, const Tensors& want) {
  double most = 0;
  for (const Tensor& t : want)
    for (float v : t.to_vector()) most = std::max(most, std::abs(double{v}));
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_TRUE(test::expect_close(got[i], want[i], {test::kPassRelativeToMax, most})) << "parameter " << i;
}

const Tensor& labels() {
  static const Tensor made = Tensor::from(std::vector<int32_t>{0, 4, 2, 1, 3, 2}, {6});
  return made;
}

TEST(FuseTraining, GradientsDoNotChange) {
  for (const Graph& plain : {residuals(3), test::branches(10, 9, 4)}) {
    Graph fused = plain.clone();
    fuse_training(fused);
    const Shape in = plain.values[plain.inputs[0]].meta.shape;
    const Tensor x = random_tensor({6, in[1], in[2], 3});
    expect_same_gradients(gradients(fused, x, labels()), gradients(plain.clone(), x, labels()));
  }
}

TEST(FuseTraining, TenStepsOfTrainingDoNotChange) {
  const auto train = [](const Graph& g) {
    std::vector<float> losses;
    for (int step = 0; step < 10; ++step) {
      const Tensor x = random_tensor({6, 9, 7, 3}, Device::kCpu, 100 + static_cast<uint64_t>(step));
      const Tensors d = gradients(g, x, labels());
      const std::vector<Tensor> w = g.trainable();
      for (size_t i = 0; i < w.size(); ++i)
        for (int64_t k = 0; k < w[i].elements(); ++k) w[i].f32()[k] -= 0.05f * d[i].f32()[k];
      const NoGrad off;
      const TrainingMode training;
      losses.push_back(softmax_cross_entropy(g.run({x})[0], labels()).item());
    }
    return losses;
  };
  const Graph plain = residuals(5);
  Graph fused = plain.clone();
  fuse_training(fused);
  const std::vector<float> want = train(plain), got = train(fused);
  EXPECT_LT(want.back(), want.front()) << "nothing was learnt";
  EXPECT_TRUE(test::expect_close(got, std::vector<double>(want.begin(), want.end()),
                                 {test::kPassRelativeToMax, 1.0}));
  expect_same_parameters(fused, plain);
}

TEST(FuseTraining, SharesParametersWithTheGivenGraph) {
  const Graph plain = residuals(1);
  Graph fused = plain;
  fuse_training(fused);
  for (const Graph::Value& v : fused.values)
    if (v.param.defined()) {
      EXPECT_TRUE(v.param.same(plain.values[plain.find(v.name)].param)) << v.name;
    }
}

TEST(FuseTraining, LeavesNoActivationOfAnyNetworkAlone) {
  for (const char* name : {"mobilenet_v1", "mobilenet_v2", "unet", "yolov3_mobilenet_v1"}) {
    Graph graph = build_model({.name = name, .classes = 2, .options = {{"width", 0.1}}}, 64, 1);
    EXPECT_GT(fuse_training(graph), 0);
    for (const Graph::Item& item : graph.items)
      EXPECT_NE(item.op->name(), std::string("activation")) << name << ": " << item.name;
  }
}

}  // namespace
}  // namespace espalier
