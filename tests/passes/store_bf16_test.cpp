#include "passes/store_bf16.h"

#include <gtest/gtest.h>

#include <cmath>

#include "models/model_table.h"
#include "ops/autograd.h"
#include "ops/cast.h"
#include "ops/ops.h"
#include "passes/example_graphs.h"
#include "passes/fuse_training.h"
#include "passes/spread_batch_norms.h"
#include "support/device_test.h"
#include "support/random_tensor.h"

namespace espalier::test {
namespace {

struct StoreBf16Test : DeviceTest {};
ESPALIER_TEST_ON_EVERY_DEVICE(StoreBf16Test);

struct Network {
  const char* name;
  int size, least;  ///< items that read or write bf16
};
constexpr Network kNetworks[] = {{"mobilenet_v2", 64, 60}, {"yolov3_mobilenet_v1", 64, 60}, {"unet", 32, 40}};

Graph prepared(const Network& n, Device device) {
  Graph graph = build_model({.name = n.name, .classes = 4}, n.size, 1);
  fuse_training(graph);
  spread_batch_norms(graph);
  return graph.to(device);
}

/// The distance of two tensors over the length of the second.
double apart(const Tensor& got, const Tensor& want) {
  const std::vector<float> a = got.to_vector(), b = want.to_vector();
  double difference = 0, length = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(double{a[i]} - b[i], 2);
    length += std::pow(double{b[i]}, 2);
  }
  return std::sqrt(difference / length);
}

TEST_P(StoreBf16Test, NetworksGiveNearlyTheSame) {
  for (const Network& n : kNetworks) {
    SCOPED_TRACE(n.name);
    const Graph floats = prepared(n, GetParam());
    Graph stored = floats.clone();
    EXPECT_GE(store_bf16(stored), n.least);
    const Tensor x = random_tensor({4, n.size, n.size, 3}, GetParam(), 1);
    // With running statistics: those of a few pixels of a batch would magnify every rounding.
    const Tensors want = floats.run({x}), got = stored.run({x});
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_EQ(got[i].dtype(), DType::kF32);
      EXPECT_LT(apart(got[i], want[i]), 0.25) << "output " << i;
    }
  }
}

TEST_P(StoreBf16Test, ParametersKeepTheirTypeAndGetGradients) {
  Graph graph = prepared(kNetworks[0], GetParam());
  store_bf16(graph);
  graph.require_gradients();
  const TrainingMode training;
  const Tensor logits = graph.run({random_tensor({8, 64, 64, 3}, GetParam(), 1)})[0];
  backward(Tensors{logits}, Tensors{random_tensor(logits.shape(), GetParam(), 2)});
  for (const Tensor& p : graph.trainable()) {
    EXPECT_EQ(p.dtype(), DType::kF32);
    ASSERT_TRUE(p.grad().defined());
    EXPECT_EQ(p.grad().dtype(), DType::kF32);
    for (const float v : p.grad().to_vector()) ASSERT_TRUE(std::isfinite(v));
  }
}

TEST(StoreBf16, CastsOnceAndOnlyWhereTypesMeet) {
  Graph graph = prepared(kNetworks[0], Device::kCpu);
  store_bf16(graph);
  int casts = 0;
  for (const Graph::Item& item : graph.items) casts += item.as<Cast>() != nullptr;
  EXPECT_EQ(casts, 1) << "of the pictures; the pool at the end gives f32";
  const size_t items = graph.items.size();
  store_bf16(graph);
  EXPECT_EQ(graph.items.size(), items) << "nothing is left for a second run";
}

TEST(StoreBf16, OpsOfFloatsOnlyGetCastsAroundThem) {
  Graph graph = branches(13, 11, 1);
  const size_t before = graph.items.size();
  store_bf16(graph);
  EXPECT_GT(graph.items.size(), before);
  for (const int v : graph.outputs) EXPECT_EQ(graph.values[v].meta.dtype, DType::kF32);
}

}  // namespace
}  // namespace espalier::test
