// A network with its batch norms spread over the convolutions trains as before: loss, gradients and running
// statistics of one step.

#include "passes/spread_batch_norms.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "models/model_table.h"
#include "ops/autograd.h"
#include "ops/batch_norm.h"
#include "ops/normed_conv.h"
#include "ops/ops.h"
#include "passes/fuse_training.h"
#include "support/expect_close.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

Graph network() {
  return build_model({.name = "mobilenet_v2", .classes = 10, .options = {{"width", 0.35}}}, 64, 1);
}

struct Step {
  float loss;
  std::vector<std::string> names;
  Tensors gradients, statistics;
};

/// One forward and backward pass, the parameters' copies and gradients in order of their names.
Step step(const Graph& graph) {
  graph.require_gradients();
  const TrainingMode training;
  const Tensor x = random_tensor({16, 64, 64, 3}, Device::kCpu, 7);
  std::vector<int32_t> labels(16);
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int32_t>(i * 7 % 10);
  const Tensor loss = softmax_cross_entropy(graph.run({x})[0], Tensor::from(labels, {16}));
  backward(loss);
  Step s{loss.item(), {}, {}, {}};
  std::vector<const Graph::Value*> parameters;
  for (const Graph::Value& v : graph.values)
    if (v.param.defined()) parameters.push_back(&v);
  std::sort(parameters.begin(), parameters.end(), [](auto* a, auto* b) { return a->name < b->name; });
  for (const Graph::Value* v : parameters) {
    if (v->trainable) s.names.push_back(v->name), s.gradients.push_back(v->param.grad());
    if (!v->trainable) s.statistics.push_back(v->param);
  }
  return s;
}

/// As it is made for `device`; it runs on the CPU either way.
void expect_the_same_step(Device device) {
  const Graph plain = network();
  Graph spread = plain.clone();
  fuse_training(spread);
  EXPECT_GT(spread_batch_norms(spread, device), 40);
  int whole = 0;
  for (const Graph::Item& item : spread.items) {
    EXPECT_FALSE(item.as<BatchNorm>()) << item.name;
    if (const auto* normalize = item.as<Normalize>()) whole += normalize->whole;
  }
  // Of MobileNetV2 the linear ends of blocks that more than one convolution reads.
  EXPECT_EQ(whole, device == Device::kCpu ? 0 : 16);
  const Step want = step(plain), got = step(spread);
  EXPECT_NEAR(got.loss, want.loss, 1e-5);
  ASSERT_EQ(got.names, want.names);
  for (size_t i = 0; i < got.gradients.size(); ++i) {
    // Rounding moves values across the kinks of ReLU6: norms of whole gradients hardly feel it.
    double difference = 0, size = 0;
    const std::vector<float> a = got.gradients[i].to_vector(), b = want.gradients[i].to_vector();
    for (size_t k = 0; k < a.size(); ++k) {
      difference += (double{a[k]} - b[k]) * (double{a[k]} - b[k]);
      size += double{b[k]} * b[k];
    }
    EXPECT_TRUE(std::sqrt(difference) <= 1e-2 * std::sqrt(size) + 1e-5) << got.names[i];
  }
  for (size_t i = 0; i < got.statistics.size(); ++i)
    EXPECT_TRUE(expect_close(got.statistics[i], want.statistics[i], {1e-4, 1.0}));  // sums in another order
}

TEST(SpreadBatchNorms, OneTrainingStepStaysTheSame) { expect_the_same_step(Device::kCpu); }
TEST(SpreadBatchNorms, OneTrainingStepStaysTheSameAsAGpuTakesIt) { expect_the_same_step(Device::kCuda); }

TEST(SpreadBatchNorms, LeavesNormsThatOthersRead) {
  // The network's output must stay, so its last norm cannot move into a reader.
  Graph graph = network();
  fuse_training(graph);
  const std::vector<int> outputs = graph.outputs;
  const Meta meta = graph.values[outputs[0]].meta;
  spread_batch_norms(graph);
  EXPECT_EQ(graph.values[graph.outputs[0]].meta, meta);
  EXPECT_EQ(spread_batch_norms(graph), 0) << "nothing is left for a second run";
}

}  // namespace
}  // namespace espalier::test
