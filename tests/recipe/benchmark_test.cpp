// How models are timed: in turns, in bounded memory, until an interrupt.

#include "recipe/benchmark.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/interrupt.h"
#include "models/model_table.h"
#include "tensor/allocator.h"

namespace espalier {
namespace {

Graph network() { return build_model({"mobilenet_v2", 3, {{"width", 0.25}}}, 64, 1); }

TEST(BenchmarkTest, GraphsWithTooMuchMemoryTogetherGoOneAfterAnother) {
  const Graph graph = network();
  const auto peak_with = [&](int64_t memory) {
    allocator::reset_peak(Device::kCpu);
    const int64_t before = allocator::statistics(Device::kCpu).in_use;
    const std::vector<Timing> timings =
        benchmark({&graph, &graph, &graph}, {.batch = 8, .seconds = 1e-3, .rounds = 1, .memory = memory});
    EXPECT_EQ(timings.size(), 3u);
    for (const Timing& timing : timings) EXPECT_GT(timing.images_per_second, 0);
    return allocator::statistics(Device::kCpu).peak - before;
  };
  const int64_t together = peak_with(int64_t{1} << 30), in_turn = peak_with(1);
  EXPECT_LT(in_turn, together / 2);
}

TEST(BenchmarkTest, AnInterruptEndsIt) {
  const Graph graph = network();
  request_interrupt();
  EXPECT_THROW(benchmark({&graph}, {.batch = 0, .seconds = 1e-3}), Interrupted);
  EXPECT_THROW(benchmark_layers(graph, 1, 1e-3), Interrupted);
  request_interrupt(false);
}

}  // namespace
}  // namespace espalier
