// One training step of MobileNetV2 at 224x224, batch 32: forward, loss, backward, SGD with momentum, on
// pictures that stay the same. Counters: images/s, and the peak of live tensors in MiB. `plain` runs the
// graph as traced, `fused` after fuse_training().

#include <benchmark/benchmark.h>

#include <nlohmann/json.hpp>

#include "base/random.h"
#include "models/model_table.h"
#include "ops/autograd.h"
#include "ops/ops.h"
#include "passes/fuse_training.h"
#include "passes/spread_batch_norms.h"
#include "tensor/allocator.h"

namespace espalier {
namespace {

constexpr int kBatch = 32, kSize = 224, kClasses = 1000;

void train_step(benchmark::State& state, bool fused, bool spread) {
  const Graph stored = build_model({.name = "mobilenet_v2", .classes = kClasses}, kSize, 1);
  Graph graph = stored;
  if (fused) fuse_training(graph);
  if (spread) spread_batch_norms(graph);
  graph.require_gradients();
  Random random(1, Purpose::kTest);
  std::vector<float> pixels(size_t{kBatch} * kSize * kSize * 3);
  for (float& v : pixels) v = static_cast<float>(random.uniform(-1, 1));
  std::vector<int32_t> labels(kBatch);
  for (int32_t& l : labels) l = random.below(kClasses);
  const Tensor x = Tensor::from(pixels, {kBatch, kSize, kSize, 3}), y = Tensor::from(labels, {kBatch});
  const std::vector<Tensor> parameters = graph.trainable();
  std::vector<Tensor> velocity;
  for (const Tensor& w : parameters) velocity.push_back(Tensor::zeros(w.shape()));

  const auto step = [&] {
    const TrainingMode training;
    backward(softmax_cross_entropy(graph.run({x})[0], y));
    for (size_t i = 0; i < parameters.size(); ++i) {
      float *w = parameters[i].f32(), *v = velocity[i].f32();
      const float* g = parameters[i].grad().f32();
      for (int64_t k = 0; k < parameters[i].elements(); ++k) {
        v[k] = 0.9f * v[k] + g[k];
        w[k] -= 1e-3f * v[k];
      }
      parameters[i].clear_grad();
    }
  };
  step();
  allocator::reset_peak(Device::kCpu);
  for (auto _ : state) step();
  state.counters["images/s"] = benchmark::Counter(kBatch, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["peak_MiB"] = static_cast<double>(allocator::statistics(Device::kCpu).peak) / (1 << 20);
}

BENCHMARK_CAPTURE(train_step, plain, false, false)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(8);
BENCHMARK_CAPTURE(train_step, fused, true, false)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(8);
BENCHMARK_CAPTURE(train_step, spread, true, true)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(16);

}  // namespace
}  // namespace espalier
