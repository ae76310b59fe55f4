// One training step (forward, loss, backward, SGD with momentum) as train/loop.cpp makes it, on pictures that
// stay the same, at the sizes that the peers are timed at. Counters: images/s, the peak of live tensors in
// MiB, and on a GPU the MiB that it has less afterwards, libraries and what is recorded included. `plain`
// runs the graph as traced, `fused` after fuse_training(), `prepared` as train/loop.cpp does. On a GPU the
// pictures lie there, targets are checked and sent while the step before is computed, as in a training, and
// the launches are recorded from the second step on.
//
//   train_step_bench [--net mobilenet_v2|yolov3_mobilenet_v1|unet] [--device cpu|cuda] [--precision
//   fp32|tf32|bf16]
//                    [--batch N] [--size PIXELS] [benchmark's options]

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/random.h"
#include "kernels/device.h"
#include "kernels/precision.h"
#include "models/model_table.h"
#include "passes/fuse_training.h"
#include "passes/prepare_for_training.h"
#include "tensor/allocator.h"
#include "tensor/device_choice.h"
#include "train/training_step.h"

namespace espalier {
namespace {

/// A network at the size that it is timed at.
struct Net {
  std::string name, task;
  int batch, size, classes;
  int gpu_batch, gpu_size;
};

const Net kNets[] = {{"mobilenet_v2", "classification", 32, 224, 1000, 64, 224},
                     {"yolov3_mobilenet_v1", "detection", 4, 320, 6, 8, 608},
                     {"unet", "segmentation", 2, 256, 2, 4, 512}};

/// What the benches are run with.
struct Setting {
  Net net = kNets[0];
  Device device = Device::kCpu;
};

/// Labels that count up; for detection eight boxes a picture.
Tensor targets_of(const Net& net) {
  if (net.task != "detection") {
    const Shape shape =
        net.task == "classification" ? Shape{net.batch} : Shape{net.batch, net.size, net.size};
    std::vector<int32_t> labels(static_cast<size_t>(shape.elements()));
    for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int32_t>(i) % net.classes;
    return Tensor::from(labels, shape);
  }
  constexpr int kBoxes = 8;
  Random random(2, Purpose::kTest);
  std::vector<float> rows;
  for (int i = 0; i < net.batch * kBoxes; ++i) {
    for (int k = 0; k < 2; ++k) rows.push_back(static_cast<float>(random.uniform(0.2, 0.8)));
    for (int k = 0; k < 2; ++k) rows.push_back(static_cast<float>(random.uniform(0.03, 0.4)));
    rows.push_back(static_cast<float>(random.below(net.classes)));
    rows.push_back(1);
  }
  return Tensor::from(rows, {net.batch, kBoxes, 6});
}

Batch batch_of(const Setting& s) {
  Random random(1, Purpose::kTest);
  const Net& net = s.net;
  std::vector<float> pixels(static_cast<size_t>(net.batch) * net.size * net.size * 3);
  for (float& v : pixels) v = static_cast<float>(random.uniform(-1, 1));
  return {.images = Tensor::from(pixels, {net.batch, net.size, net.size, 3}).to(s.device),
          .targets = {targets_of(net)}};
}

void train_step(benchmark::State& state, const Setting& setting, void (*prepare)(Graph&, Device)) {
  const auto& [net, device] = setting;
  const auto free = [device = device] {
    return static_cast<double>(kernels::free_bytes(device)) / (1 << 20);
  };
  const double free_before = free();
  const Graph stored = build_model({.name = net.name, .classes = net.classes}, net.size, 1).to(device);
  Graph graph = stored;
  prepare(graph, device);
  graph.require_gradients();
  const auto task = make_task(net.task, net.classes, Json::object());
  const auto optimizer = make_optimizer({.momentum = 0.9, .weight_decay = 1e-4}, stored);
  const DistillOptions no_teacher;
  const Objective objective(*task, no_teacher, stored, device);
  TrainingStep step(graph, *task, objective, *optimizer, nullptr, 0, device);
  const Batch batch = batch_of(setting);
  for (int warm = 0; warm < (device == Device::kCpu ? 1 : 3); ++warm) step.run(batch, 1e-4);
  allocator::reset_peak(device);
  const auto read_ahead = [&step, &batch] { step.stage(batch); };
  for (auto _ : state) step.run(batch, 1e-4, read_ahead);
  state.counters["images/s"] = benchmark::Counter(net.batch, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["peak_MiB"] = static_cast<double>(allocator::statistics(device).peak) / (1 << 20);
  if (device == Device::kCpu) return;
  state.counters["recorded"] = step.recordings();
  state.counters["held_MiB"] = free_before - free();
}

/// Takes the options of this program out of the arguments.
Setting setting_from(int& argc, char** argv) {
  std::map<std::string, std::string> given = {
      {"--net", kNets[0].name}, {"--device", "cpu"}, {"--precision", ""}, {"--batch", ""}, {"--size", ""}};
  int left = 1;
  for (int i = 1; i < argc; ++i) {
    const auto option = given.find(argv[i]);
    if (option != given.end() && i + 1 < argc)
      option->second = argv[++i];
    else
      argv[left++] = argv[i];
  }
  argc = left;
  Setting s;
  const auto device = device_choice(given["--device"]);
  ESPALIER_CHECK(device, "--device ", given["--device"], " is unknown; known are cpu, cuda, cuda:N, auto");
  s.device = take_device(*device);
  const auto net = std::find_if(std::begin(kNets), std::end(kNets),
                                [&](const Net& n) { return n.name == given["--net"]; });
  ESPALIER_CHECK(net != std::end(kNets), "--net ", given["--net"],
                 " is unknown; known are mobilenet_v2, yolov3_mobilenet_v1, unet");
  s.net = *net;
  if (s.device != Device::kCpu) s.net.batch = net->gpu_batch, s.net.size = net->gpu_size;
  if (!given["--batch"].empty()) s.net.batch = std::atoi(given["--batch"].c_str());
  if (!given["--size"].empty()) s.net.size = std::atoi(given["--size"].c_str());
  ESPALIER_CHECK(s.net.batch > 0 && s.net.size > 0, "--batch and --size are whole numbers above 0");
  if (!given["--precision"].empty())
    kernels::set_precision(kernels::precision_from_name(given["--precision"]));
  return s;
}

void register_steps(const Setting& setting) {
  const struct {
    const char* name;
    void (*prepare)(Graph&, Device);
    int steps;
  } modes[] = {{"plain", [](Graph&, Device) {}, 8},
               {"fused", [](Graph& g, Device) { fuse_training(g); }, 8},
               {"prepared", prepare_for_training, 16}};
  const int more = setting.device == Device::kCpu ? 1 : 8;
  for (const auto& mode : modes)
    benchmark::RegisterBenchmark(
        str("train_step/", setting.net.name, "/", mode.name).c_str(),
        [setting, mode](benchmark::State& state) { train_step(state, setting, mode.prepare); })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime()
        ->Iterations(mode.steps * more);
}

}  // namespace
}  // namespace espalier

int main(int argc, char** argv) {
  try {
    espalier::register_steps(espalier::setting_from(argc, argv));
  } catch (const espalier::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
