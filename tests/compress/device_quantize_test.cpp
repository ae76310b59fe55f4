// Calibration, INT8 and norm statistics on every device.

#include "compress/calibrate.h"
#include "compress/prune.h"
#include "compress/toy.h"
#include "runtime/session.h"
#include "support/device_test.h"
#include "support/expect_close.h"

namespace espalier {
namespace {

class DeviceCompress : public test::DeviceTest {};

Graph network() {
  Graph graph = build_model({.name = "mobilenet_v2", .classes = 5, .options = {{"width", 0.25}}}, 32, 1);
  test::randomise(graph, 3);
  return graph;
}

TEST_P(DeviceCompress, CalibratesAsOnTheCpu) {
  const Graph graph = network();
  test::ToySource source(graph, 12, 4);
  const Calibration want = calibrate(graph, source), got = calibrate(graph.to(GetParam()), source);
  ASSERT_EQ(got.ranges.size(), want.ranges.size());
  for (const auto& [name, range] : want.ranges) EXPECT_NEAR(got.ranges.at(name), range, 1e-3 * range) << name;
}

TEST_P(DeviceCompress, Int8GivesTheCpusBits) {
  const Graph graph = network();
  test::ToySource source(graph, 12, 4);
  const Graph int8 = quantize_model(graph, source);
  Session cpu(int8), there(int8.to(GetParam()));
  const Tensor x = test::random_tensor({3, 32, 32, 3}, Device::kCpu, 9);
  EXPECT_EQ(there.run({x})[0].to_vector(), cpu.run({x})[0].to_vector());
}

TEST_P(DeviceCompress, RecalibratesNorms) {
  Graph here = network(), there = network().to(GetParam());
  test::ToySource source(here, 12, 4);
  EXPECT_EQ(recalibrate_batch_norms(here, source, 3), 3);
  EXPECT_EQ(recalibrate_batch_norms(there, source, 3), 3);
  const Tensor x = test::random_tensor({2, 32, 32, 3}, Device::kCpu, 9);
  // The last layers' statistics are of four pixels, which magnify what sums in another order change.
  EXPECT_TRUE(test::expect_close(there.run({x.to(GetParam())})[0], here.run({x})[0], {5e-4, 1.0}));
}

ESPALIER_TEST_ON_EVERY_DEVICE(DeviceCompress);

}  // namespace
}  // namespace espalier
