// Sessions on every device give what the graph gives on the CPU.

#include "base/error.h"
#include "models/model_table.h"
#include "passes/quantize.h"
#include "passes/quantized_network.h"
#include "runtime/session.h"
#include "support/device_test.h"
#include "support/random_tensor.h"

namespace espalier {
namespace {

class DeviceSession : public test::DeviceTest {
 protected:
  void expect_like_cpu(const Graph& graph, const std::vector<Shape>& shapes) const {
    Session session(graph.to(GetParam()));
    for (const Shape& shape : shapes) {
      SCOPED_TRACE(str(shape));
      const Tensor x = test::random_tensor(shape, Device::kCpu, 1);
      const Tensors want = graph.run({x});
      test::expect_same(session.run({x}), want);                 // from the CPU
      test::expect_same(session.run({x.to(GetParam())}), want);  // and from where it runs
      EXPECT_EQ(session.run({x})[0].device(), GetParam());
    }
  }
};

TEST_P(DeviceSession, Branches) {
  expect_like_cpu(test::branches(12, 14, 3), {{1, 12, 14, 3}, {4, 12, 14, 3}, {2, 33, 21, 3}});
}

TEST_P(DeviceSession, EveryNetwork) {
  for (const ModelEntry& entry : model_table()) {
    SCOPED_TRACE(entry.name);
    Graph graph = build_model({.name = entry.name, .classes = 5}, 64, 1);
    test::randomise(graph, 8);
    expect_like_cpu(graph, {{2, 64, 64, 3}, {1, 64, 64, 3}});
  }
}

TEST_P(DeviceSession, NetworksOfOddWidths) {
  expect_like_cpu(test::tied(5), {{1, 8, 6, 3}, {3, 10, 14, 3}});
  const Tensor x = test::random_tensor({2, 8, 6, 3}, Device::kCpu, 2);
  const Graph fp32 = prepare_for_quantization(test::tied(5));
  const Graph int8 = quantize(fp32, test::ranges_of(fp32, x), {});
  Session session(int8.to(GetParam()));
  const NoGrad no_grad;
  EXPECT_EQ(session.run({x})[0].to_vector(), int8.run({x})[0].to_vector());
}

TEST_P(DeviceSession, RepeatsItsBitsPlainAndReplayed) {
  const Graph graph = test::branches(12, 14, 3).to(GetParam());
  Session first(graph), second(graph);
  const Tensor x = test::random_tensor({2, 12, 14, 3}, Device::kCpu, 1),
               other = test::random_tensor({2, 12, 14, 3}, Device::kCpu, 2);
  const std::vector<float> want = first.run({x})[0].to_vector(), wanted = second.run({other})[0].to_vector();
  for (int run = 0; run < 4; ++run) {
    const Tensor between = Tensor::full({2, 12, 14, 64}, 1, GetParam());  // takes what sessions may have used
    EXPECT_EQ(first.run({x})[0].to_vector(), want) << run;
    EXPECT_EQ(first.run({other})[0].to_vector(), wanted) << run;
    EXPECT_EQ(between.to_vector(), std::vector<float>(static_cast<size_t>(between.elements()), 1)) << run;
  }
}

TEST_P(DeviceSession, ProfilesEveryItem) {
  Session session(test::branches(12, 14, 3).to(GetParam()));
  const auto times = session.profile({test::random_tensor({1, 12, 14, 3}, Device::kCpu, 1)});
  EXPECT_EQ(times.size(), session.graph().items.size());
  for (const double ms : times) EXPECT_GE(ms, 0);
}

ESPALIER_TEST_ON_EVERY_DEVICE(DeviceSession);

}  // namespace
}  // namespace espalier
