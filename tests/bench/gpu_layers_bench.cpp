// Every convolution of the three networks on the GPU: the hand-written kernels, cuDNN, cuBLASLt, and the
// roofline, per layer and summed over the network.
//
//   bench_gpu_layers [--net NAME] [--batch N] [--precision fp32|tf32|bf16]
//
// With bf16, activations lie in memory as bf16, as in a training. The roofline is the larger of two times:
// the layer's tensors moved once at the bandwidth measured for a copy, and its products at the rate measured
// for a large matrix product. Times are medians of rounds of several runs; a dash means that a library does
// not take the layer.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <optional>

#include "base/error.h"
#include "graph/graph.h"
#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "kernels/elementwise.h"
#include "kernels/launch_graph.h"
#include "kernels/precision.h"
#include "kernels/tuning_cuda.h"
#include "models/model_table.h"
#include "ops/conv2d.h"
#include "ops/convolution.h"
#include "ops/storage.h"
#include "timing.h"

namespace espalier {
namespace {

using kernels::ConvShape;

struct Net {
  const char* name;
  int batch, size, classes;
};
constexpr Net kNets[] = {
    {"mobilenet_v2", 64, 224, 1000}, {"yolov3_mobilenet_v1", 8, 608, 6}, {"unet", 4, 512, 2}};

struct Layer {
  std::string name;
  ConvShape shape;
  bool depthwise;
  int count;  ///< how often the network has it
};

std::vector<Layer> layers_of(const Net& net) {
  const Graph graph = build_model({.name = net.name, .classes = net.classes}, net.size, 1);
  const Metas metas = graph.infer({{{net.batch, net.size, net.size, 3}, DType::kF32}});
  std::vector<Layer> layers;
  for (const Graph::Item& item : graph.items) {
    const auto* dense = item.as<Conv2d>();
    const auto* depthwise = item.as<DepthwiseConv2d>();
    if (!dense && !depthwise) continue;
    const Shape &x = metas[static_cast<size_t>(item.in[0])].shape,
                &w = metas[static_cast<size_t>(item.in[1])].shape;
    const ConvShape s =
        dense ? ConvShape{x[0], x[1], x[2], x[3], w[0], w[1], w[2], dense->stride, dense->pad}
              : ConvShape{x[0], x[1], x[2], x[3], x[3], w[0], w[1], depthwise->stride, depthwise->pad};
    const auto known = std::find_if(layers.begin(), layers.end(), [&](const Layer& l) {
      return l.shape == s && l.depthwise == (depthwise != nullptr);
    });
    if (known != layers.end())
      ++known->count;
    else
      layers.push_back({item.name, s, depthwise != nullptr, 1});
  }
  return layers;
}

/// Milliseconds of one run, recorded with others and started as one, as a step or a session runs it.
double time_of(const std::function<void()>& run) {
  constexpr int kRounds = 5, kRuns = 10;
  kernels::LaunchGraph runs;
  const auto all = [&] {
    for (int k = 0; k < kRuns; ++k) run();
  };
  std::vector<double> rounds;
  for (int i = 0; i < kRounds + 2; ++i) {  // plain, recorded, then timed
    kernels::synchronize(Device::kCuda);
    const double begin = now_ms();
    runs.run(all);
    kernels::synchronize(Device::kCuda);
    if (i >= 2) rounds.push_back((now_ms() - begin) / kRuns);
  }
  return quantile(rounds, 0.5);
}

struct Machine {
  double bytes_per_ms, products_per_ms;
};

/// What a training stores with the precision that was chosen: activations as bf16 or as floats.
Tensor stored(const Tensor& t) {
  if (kernels::precision() != kernels::Precision::kBf16) return t;
  const Tensor out(t.shape(), t.device(), DType::kBF16);
  kernels::cast(t.device(), t.elements(), t.f32(), out.bf16());
  return out;
}

Tensor values(const Shape& shape) {
  constexpr size_t kDrawn = 1000003;  // repeated, because drawing millions takes longer than timing them
  static const std::vector<float> drawn = [] {
    Random random(1, Purpose::kTest);
    std::vector<float> d(kDrawn);
    for (float& f : d) f = static_cast<float>(random.uniform(-1, 1));
    return d;
  }();
  std::vector<float> v(static_cast<size_t>(shape.elements()));
  for (size_t i = 0; i < v.size(); i += kDrawn)
    std::copy_n(drawn.begin(), std::min(kDrawn, v.size() - i), v.begin() + static_cast<std::ptrdiff_t>(i));
  return Tensor::from(v, shape, Device::kCuda);
}

enum class Pass { kForward, kBackwardX, kBackwardW };
constexpr const char* kPassNames[] = {"forward", "backward_x", "backward_w"};

struct Problem {
  Layer layer;
  Tensor x, w, y;
  explicit Problem(const Layer& l)
      : layer(l),
        x(stored(values({l.shape.N, l.shape.H, l.shape.W, l.shape.C}))),
        w(values(l.depthwise ? Shape{l.shape.R, l.shape.S, l.shape.C}
                             : Shape{l.shape.K, l.shape.R, l.shape.S, l.shape.C})),
        y(stored(values({l.shape.N, l.shape.P(), l.shape.Q(), l.shape.K}))) {}

  void run(Pass pass) const {
    with_type(x.dtype(), [&]<class T>(std::type_identity<T>) { run<T>(pass); });
  }
  template <class T>
  void run(Pass pass) const {
    constexpr Device gpu = Device::kCuda;
    const ConvShape& s = layer.shape;
    if (pass == Pass::kForward)
      (layer.depthwise ? kernels::depthwise_forward<T> : kernels::conv2d_forward<T>)(gpu, s, x.as<T>(),
                                                                                     w.f32(), {}, y.as<T>());
    else if (pass == Pass::kBackwardX)
      (layer.depthwise ? kernels::depthwise_backward_x<T>
                       : kernels::conv2d_backward_x<T>)(gpu, s, y.as<T>(), w.f32(), x.as<T>());
    else
      (layer.depthwise ? kernels::depthwise_backward_w<T>
                       : kernels::conv2d_backward_w<T>)(gpu, s, x.as<T>(), y.as<T>(), w.f32());
  }
  double products() const {
    const ConvShape& s = layer.shape;
    return static_cast<double>(y.elements()) * s.R * s.S * (layer.depthwise ? 1 : s.C);
  }
  double roofline(const Machine& m) const {
    const double bytes = static_cast<double>(x.bytes() + w.bytes() + y.bytes());
    const double arithmetic = layer.depthwise ? 0 : products() / m.products_per_ms;
    return std::max(bytes / m.bytes_per_ms, arithmetic);
  }
};

/// The time of the best of these candidates.
std::optional<double> best_of(const Problem& p, Pass pass, std::initializer_list<const char*> names) {
  std::optional<double> best;
  for (const char* name : names) {
    kernels::cuda::force_candidate(name);
    if (kernels::cuda::forced_ran([&] { p.run(pass); })) {
      const double ms = time_of([&] { p.run(pass); });
      if (!best || ms < *best) best = ms;
    }
    kernels::cuda::force_candidate(nullptr);
  }
  return best;
}

Machine measure() {
  const Tensor a = values({64 << 20}), b(a.shape(), Device::kCuda);
  const double copy = time_of([&] { b.copy_from(a); });
  const Problem product({"", {8192, 1, 1, 8192, 8192, 1, 1, 1, {}}, false, 1});
  const auto best = best_of(product, Pass::kForward, {"large", "group-256", "cudnn", "cublaslt"});
  return {2.0 * static_cast<double>(a.bytes()) / copy, product.products() / *best};
}

void print(const std::optional<double>& ms) {
  if (ms)
    std::printf(" %9.3f", *ms);
  else
    std::printf(" %9s", "-");
}

void run(const Net& net, const Machine& machine) {
  std::printf("%s, batch %d, %dx%d\n%-34s %-10s %5s %9s %9s %9s %9s %9s\n", net.name, net.batch, net.size,
              net.size, "layer", "pass", "times", "own", "cudnn", "cublaslt", "roofline", "own/roof");
  double own_sum[3] = {}, best_sum[3] = {}, roof_sum[3] = {};
  for (const Layer& layer : layers_of(net)) {
    const Problem p(layer);
    for (const Pass pass : {Pass::kForward, Pass::kBackwardX, Pass::kBackwardW}) {
      if (pass == Pass::kBackwardX && layer.shape.C == 3) continue;  // nobody wants an image's gradient
      std::optional<double> own, cudnn, cublaslt;
      if (layer.depthwise) {
        own = time_of([&] { p.run(pass); });
      } else {
        own = best_of(p, pass,
                      {"large", "medium", "narrow", "small", "few-channels", "few-filters", "group-64",
                       "group-128", "group-256", "group-64x256", "group-128x128", "group-taps"});
        cudnn = best_of(p, pass, {"cudnn"});
        cublaslt = best_of(p, pass, {"cublaslt"});
      }
      const double roof = p.roofline(machine);
      std::printf("%-34s %-10s %5d", layer.name.c_str(), kPassNames[static_cast<int>(pass)], layer.count);
      print(own);
      print(cudnn);
      print(cublaslt);
      std::printf(" %9.3f %9.2f\n", roof, own ? *own / roof : 0.0);
      const size_t i = static_cast<size_t>(pass);
      const double mine = own.value_or(0);
      own_sum[i] += mine * layer.count;
      best_sum[i] += std::min({mine, cudnn.value_or(mine), cublaslt.value_or(mine)}) * layer.count;
      roof_sum[i] += roof * layer.count;
    }
  }
  for (int i = 0; i < 3; ++i)
    std::printf("%-34s %-10s       own %.3f ms, best candidates %.3f ms, roofline %.3f ms\n", "all layers",
                kPassNames[i], own_sum[i], best_sum[i], roof_sum[i]);
}

int main_of(int argc, char** argv) {
  const char* only = nullptr;
  int batch = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--net") {
      only = argv[i + 1];
    } else if (name == "--batch") {
      batch = std::stoi(value);
    } else if (name == "--precision") {
      ESPALIER_CHECK(value == "fp32" || value == "tf32" || value == "bf16",
                     "bench_gpu_layers: --precision is ", value, ", expected fp32, tf32 or bf16");
      kernels::set_precision(value == "fp32"   ? kernels::Precision::kFp32
                             : value == "tf32" ? kernels::Precision::kTf32
                                               : kernels::Precision::kBf16);
    } else {
      fail("bench_gpu_layers: " + name + " is none of --net, --batch, --precision");
    }
  }
  ESPALIER_CHECK(kernels::cuda_available(), "bench_gpu_layers: no GPU answers; run it on a machine with one");
  const Machine machine = measure();
  std::printf("copy %.0f GB/s, large product %.1f TFLOP/s\n", machine.bytes_per_ms * 1e-6,
              2e-9 * machine.products_per_ms);
  for (Net net : kNets) {
    if (only && std::strcmp(only, net.name)) continue;
    if (batch) net.batch = batch;
    run(net, machine);
  }
  return 0;
}

}  // namespace
}  // namespace espalier

int main(int argc, char** argv) {
  try {
    return espalier::main_of(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
