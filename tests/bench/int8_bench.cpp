// Latency of INT8 inference beside FP32, in turns: bench_int8 [--batch N] [--size N] [--threads N]
// [--seconds F] [--layers]. Weights are random, which the speed does not depend on. --layers adds the 5th
// percentile of the milliseconds of each INT8 kernel: what it takes where nobody disturbs.

#include <cstdio>
#include <string>

#include "base/error.h"
#include "bench/timing.h"
#include "graph/cost.h"
#include "kernels/device.h"
#include "models/model_table.h"
#include "passes/quantize.h"
#include "runtime/session.h"

namespace espalier {
namespace {

struct Options {
  int batch = 1, size = 224, threads = kernels::threads();
  double seconds = 5;
  bool layers = false;
};

Options parse(int count, char** arguments) {
  Options o;
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    const auto value = [&] {
      ESPALIER_CHECK(i + 1 < count, "bench_int8: ", name, " needs a value");
      return std::stod(arguments[++i]);
    };
    if (name == "--batch")
      o.batch = static_cast<int>(value());
    else if (name == "--size")
      o.size = static_cast<int>(value());
    else if (name == "--threads")
      o.threads = static_cast<int>(value());
    else if (name == "--seconds")
      o.seconds = value();
    else if (name == "--layers")
      o.layers = true;
    else
      fail("bench_int8: unknown option " + name);
  }
  return o;
}

void print_layers(Session& session, const Tensors& inputs, double seconds) {
  const Graph& graph = session.graph();
  std::vector<std::vector<double>> ms(graph.items.size());
  for (const double end = now_ms() + seconds * 1e3; now_ms() < end;) {
    const std::vector<double> times = session.profile(inputs);
    for (size_t i = 0; i < times.size(); ++i) ms[i].push_back(times[i]);
  }
  double macs = 0;  // of items that a later one's kernel includes
  for (size_t i = 0; i < ms.size(); ++i) {
    const double least = quantile(ms[i], 0.05);
    macs += static_cast<double>(item_macs(graph, graph.items[i])) * inputs[0].shape()[0];
    if (least < 1e-4) continue;
    std::printf("%-40s %9.4f ms  %7.1f GOP/s\n", graph.items[i].name.c_str(), least, 2e-6 * macs / least);
    macs = 0;
  }
}

void run(const Options& o) {
  kernels::set_threads(o.threads);
  const Graph fp32 = build_model({.name = "mobilenet_v2", .classes = 1000}, o.size, 1);
  const Graph prepared = prepare_for_quantization(fp32);
  std::map<std::string, float> ranges;
  for (const Graph::Value& v : prepared.values)
    if (!v.param.defined()) ranges[v.name] = 6;
  const Tensors inputs = {random_images(o.batch, o.size)};

  Session sessions[] = {Session(fp32), Session(quantize(prepared, ranges))};
  const char* names[] = {"fp32", "int8"};
  std::vector<double> ms[2];
  constexpr int kTurns = 20;  // so that what else the machine does falls on both
  for (int turn = -1; turn < kTurns; ++turn)
    for (int i = 0; i < 2; ++i)
      for (const double end = now_ms() + o.seconds * 1e3 / kTurns / 2; now_ms() < end;) {
        const double start = now_ms();
        sessions[i].run(inputs);
        if (turn >= 0) ms[i].push_back(now_ms() - start);
      }
  for (int i = 0; i < 2; ++i)
    std::printf(
        "{\"net\": \"mobilenet_v2\", \"what\": \"espalier %s\", \"batch\": %d, \"size\": %d, \"threads\": "
        "%d, "
        "\"ms\": %.3f, \"p5\": %.3f, \"p95\": %.3f, \"images_per_s\": %.1f, \"arena_mib\": %.2f, "
        "\"packed_mib\": %.2f}\n",
        names[i], o.batch, o.size, o.threads, quantile(ms[i], 0.5), quantile(ms[i], 0.05),
        quantile(ms[i], 0.95), o.batch / quantile(ms[i], 0.5) * 1e3,
        static_cast<double>(sessions[i].arena_bytes()) / 1048576.0,
        static_cast<double>(sessions[i].packed_bytes()) / 1048576.0);
  if (o.layers) print_layers(sessions[1], inputs, o.seconds);
}

}  // namespace
}  // namespace espalier

int main(int count, char** arguments) {
  try {
    espalier::run(espalier::parse(count, arguments));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
