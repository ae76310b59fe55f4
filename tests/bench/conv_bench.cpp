// Every convolution of MobileNetV2 at 224x224, batch 32: forward, data gradient and filter gradient, each
// with the sum over all layers of the network. Counters: GFLOP/s, and GB/s of activations read and written
// once.

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "tensor/tensor.h"

namespace espalier {
namespace {

constexpr int kBatch = 32;

struct Layer {
  std::string name;
  bool depthwise;
  kernels::ConvShape shape;
  int count;  ///< how often the network has it
};

std::vector<Layer> layers() {
  struct Stage {
    int expand, out, blocks, stride;
  };
  constexpr Stage stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                              {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  std::vector<Layer> all;
  const auto add = [&](const std::string& kind, bool depthwise, const kernels::ConvShape& s) {
    for (Layer& l : all)
      if (l.depthwise == depthwise && l.shape == s) {
        ++l.count;
        return;
      }
    all.push_back({kind + "/" + std::to_string(s.H) + "x" + std::to_string(s.C) + "to" + std::to_string(s.K) +
                       (s.stride > 1 ? "s2" : ""),
                   depthwise, s, 1});
  };
  int size = 112, c = 32;
  add("stem", false, {kBatch, 224, 224, 3, 32, 3, 3, 2, {1, 1, 1, 1}});
  for (const Stage& stage : stages)
    for (int b = 0; b < stage.blocks; ++b) {
      const int stride = b ? 1 : stage.stride, wide = c * stage.expand;
      if (stage.expand > 1) add("expand", false, {kBatch, size, size, c, wide, 1, 1, 1, {}});
      add("depthwise", true, {kBatch, size, size, wide, wide, 3, 3, stride, {1, 1, 1, 1}});
      size /= stride;
      add("project", false, {kBatch, size, size, wide, stage.out, 1, 1, 1, {}});
      c = stage.out;
    }
  add("head", false, {kBatch, size, size, c, 1280, 1, 1, 1, {}});
  add("linear", false, {kBatch, 1, 1, 1280, 1000, 1, 1, 1, {}});
  return all;
}

Tensor noise(const Shape& shape, uint64_t seed) {
  Random random(seed, Purpose::kTest);
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (float& v : values) v = static_cast<float>(random.uniform(-1, 1));
  return Tensor::from(values, shape);
}

enum class Pass { kForward, kBackwardX, kBackwardW };

struct Problem {
  Layer layer;
  Tensor x, w, y;

  explicit Problem(const Layer& l) : layer(l) {
    const auto& s = l.shape;
    x = noise({s.N, s.H, s.W, s.C}, 1);
    w = noise(l.depthwise ? Shape{s.R, s.S, s.C} : Shape{s.K, s.R, s.S, s.C}, 2);
    y = noise({s.N, s.P(), s.Q(), s.K}, 3);
  }
  void run(Pass pass) const {
    const auto& s = layer.shape;
    constexpr Device cpu = Device::kCpu;
    if (pass == Pass::kForward)
      (layer.depthwise ? kernels::depthwise_forward : kernels::conv2d_forward)(cpu, s, x.f32(), w.f32(), {},
                                                                               y.f32());
    else if (pass == Pass::kBackwardX)
      (layer.depthwise ? kernels::depthwise_backward_x : kernels::conv2d_backward_x)(cpu, s, y.f32(), w.f32(),
                                                                                     x.f32());
    else
      (layer.depthwise ? kernels::depthwise_backward_w : kernels::conv2d_backward_w)(cpu, s, x.f32(), y.f32(),
                                                                                     w.f32());
  }
};

void run_layer(benchmark::State& state, const Layer& layer, Pass pass) {
  const Problem problem(layer);
  problem.run(pass);
  for (auto _ : state) problem.run(pass);
  const auto& s = layer.shape;
  const double macs = static_cast<double>(problem.y.elements()) * s.R * s.S * (layer.depthwise ? 1 : s.C);
  const double bytes = static_cast<double>(problem.x.bytes() + problem.y.bytes());
  state.counters["GFLOP/s"] = benchmark::Counter(2e-9 * macs, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["GB/s"] = benchmark::Counter(1e-9 * bytes, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["times"] = layer.count;
}

const bool registered = [] {
  const std::pair<Pass, const char*> passes[] = {
      {Pass::kForward, "forward"}, {Pass::kBackwardX, "backward_x"}, {Pass::kBackwardW, "backward_w"}};
  for (const auto& [pass, name] : passes)
    for (const Layer& layer : layers()) {
      if (pass == Pass::kBackwardX && layer.shape.C == 3) continue;  // nobody wants an image's gradient
      benchmark::RegisterBenchmark((std::string(name) + "/" + layer.name).c_str(), run_layer, layer, pass)
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime()
          ->MinTime(0.05);
    }
  return true;
}();

}  // namespace
}  // namespace espalier
