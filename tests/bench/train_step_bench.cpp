// One training step (forward, loss, backward, SGD with momentum) on pictures that stay the same, at the sizes
// that the peers are timed at. Counters: images/s, and the peak of live tensors in MiB. `plain` runs the
// graph as traced, `fused` after fuse_training(), `spread` as train/loop.cpp does.
//
//   train_step_bench [--net mobilenet_v2|yolov3_mobilenet_v1|unet] [benchmark's options]

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/random.h"
#include "models/model_table.h"
#include "ops/autograd.h"
#include "ops/ops.h"
#include "optim/optimizer.h"
#include "passes/fuse_training.h"
#include "passes/spread_batch_norms.h"
#include "tensor/allocator.h"

namespace espalier {
namespace {

/// A network at the size that it is timed at, and its loss on fixed labels.
struct Net {
  const char* name;
  int batch, size, classes;
  std::function<Tensor(const Net&, const Tensors& outputs)> loss;
};

/// Cross entropy of every row of the first output; the labels count up.
Tensor row_loss(const Net& net, const Tensors& outputs) {
  std::vector<int> rows = outputs[0].shape().vector();
  rows.pop_back();
  const Shape shape(rows);
  std::vector<int32_t> labels(static_cast<size_t>(shape.elements()));
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int32_t>(i) % net.classes;
  return softmax_cross_entropy(outputs[0], Tensor::from(labels, shape));
}

/// The three heads' losses with eight boxes a picture.
Tensor box_loss(const Net& net, const Tensors& heads) {
  constexpr int kBoxes = 8;
  Random random(2, Purpose::kTest);
  std::vector<float> rows;
  for (int i = 0; i < net.batch * kBoxes; ++i) {
    for (int k = 0; k < 2; ++k) rows.push_back(static_cast<float>(random.uniform(0.2, 0.8)));
    for (int k = 0; k < 2; ++k) rows.push_back(static_cast<float>(random.uniform(0.03, 0.4)));
    rows.push_back(static_cast<float>(random.below(net.classes)));
    rows.push_back(1);
  }
  const Tensor boxes = Tensor::from(rows, {net.batch, kBoxes, 6});
  Tensor sum;
  for (int n = 0; n < 3; ++n) {
    const Tensor loss = yolo_loss(
        heads[n], boxes,
        {.anchors =
             {{10, 13}, {16, 30}, {33, 23}, {30, 61}, {62, 45}, {59, 119}, {116, 90}, {156, 198}, {373, 326}},
         .mask = {6 - 3 * n, 7 - 3 * n, 8 - 3 * n},
         .classes = net.classes,
         .downsample = 32 >> n});
    sum = n ? add(sum, loss) : loss;
  }
  return sum;
}

const Net kNets[] = {{"mobilenet_v2", 32, 224, 1000, row_loss},
                     {"yolov3_mobilenet_v1", 4, 320, 6, box_loss},
                     {"unet", 2, 256, 2, row_loss}};

void train_step(benchmark::State& state, const Net& net, bool fused, bool spread) {
  const Graph stored = build_model({.name = net.name, .classes = net.classes}, net.size, 1);
  Graph graph = stored;
  if (fused) fuse_training(graph);
  if (spread) spread_batch_norms(graph);
  graph.require_gradients();
  Random random(1, Purpose::kTest);
  std::vector<float> pixels(static_cast<size_t>(net.batch) * net.size * net.size * 3);
  for (float& v : pixels) v = static_cast<float>(random.uniform(-1, 1));
  const Tensor x = Tensor::from(pixels, {net.batch, net.size, net.size, 3});
  const auto optimizer = make_optimizer({.momentum = 0.9, .weight_decay = 1e-4}, stored);
  const auto step = [&] {
    const TrainingMode training;
    backward(net.loss(net, graph.run({x})));
    optimizer->step(1e-4);
  };
  step();
  allocator::reset_peak(Device::kCpu);
  for (auto _ : state) step();
  state.counters["images/s"] = benchmark::Counter(net.batch, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["peak_MiB"] = static_cast<double>(allocator::statistics(Device::kCpu).peak) / (1 << 20);
}

/// Takes `--net NAME` out of the arguments.
const Net& net_from(int& argc, char** argv) {
  const char* name = kNets[0].name;
  int left = 1;
  for (int i = 1; i < argc; ++i)
    if (std::strcmp(argv[i], "--net") == 0 && i + 1 < argc)
      name = argv[++i];
    else
      argv[left++] = argv[i];
  argc = left;
  for (const Net& net : kNets)
    if (std::strcmp(net.name, name) == 0) return net;
  fail(str("--net ", name, " is unknown; known are mobilenet_v2, yolov3_mobilenet_v1, unet"));
}

void register_steps(const Net& net) {
  const struct {
    const char* name;
    bool fused, spread;
    int steps;
  } modes[] = {{"plain", false, false, 8}, {"fused", true, false, 8}, {"spread", true, true, 16}};
  for (const auto& mode : modes)
    benchmark::RegisterBenchmark(
        str("train_step/", net.name, "/", mode.name).c_str(),
        [&net, mode](benchmark::State& state) { train_step(state, net, mode.fused, mode.spread); })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime()
        ->Iterations(mode.steps);
}

}  // namespace
}  // namespace espalier

int main(int argc, char** argv) {
  try {
    espalier::register_steps(espalier::net_from(argc, argv));
  } catch (const espalier::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
