// Sessions on every device give what the graph gives on the CPU.

#include "base/error.h"
#include "models/model_table.h"
#include "passes/example_graphs.h"
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

TEST_P(DeviceSession, ProfilesEveryItem) {
  Session session(test::branches(12, 14, 3).to(GetParam()));
  const auto times = session.profile({test::random_tensor({1, 12, 14, 3}, Device::kCpu, 1)});
  EXPECT_EQ(times.size(), session.graph().items.size());
  for (const double ms : times) EXPECT_GE(ms, 0);
}

ESPALIER_TEST_ON_EVERY_DEVICE(DeviceSession);

}  // namespace
}  // namespace espalier
