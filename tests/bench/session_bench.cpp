// Latency of FP32 inference: bench_session [--batch N] [--size N] [--width F] [--threads N] [--seconds F]
// [--layers] One JSON object on standard output, like the peers' timer; --layers adds the milliseconds of
// each kernel.

#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>

#include "base/error.h"
#include "bench/timing.h"
#include "graph/cost.h"
#include "kernels/device.h"
#include "models/model_table.h"
#include "runtime/session.h"

namespace espalier {
namespace {

struct Options {
  int batch = 1, size = 224, threads = kernels::threads();
  double width = 1, seconds = 5;
  bool layers = false;
};

Options parse(int count, char** arguments) {
  Options o;
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    const auto value = [&] {
      ESPALIER_CHECK(i + 1 < count, "bench_session: ", name, " needs a value");
      return std::stod(arguments[++i]);
    };
    if (name == "--batch")
      o.batch = static_cast<int>(value());
    else if (name == "--size")
      o.size = static_cast<int>(value());
    else if (name == "--width")
      o.width = value();
    else if (name == "--threads")
      o.threads = static_cast<int>(value());
    else if (name == "--seconds")
      o.seconds = value();
    else if (name == "--layers")
      o.layers = true;
    else
      fail("bench_session: unknown option " + name);
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
    const double median = quantile(ms[i], 0.5);
    macs += static_cast<double>(item_macs(graph, graph.items[i])) * inputs[0].shape()[0];
    if (median < 1e-4) continue;
    std::printf("%-40s %9.4f ms  %7.1f GFLOP/s\n", graph.items[i].name.c_str(), median, 2e-6 * macs / median);
    macs = 0;
  }
}

void run(const Options& o) {
  kernels::set_threads(o.threads);
  const Graph graph =
      build_model({.name = "mobilenet_v2", .classes = 1000, .options = {{"width", o.width}}}, o.size, 1);
  const Tensors inputs = {random_images(o.batch, o.size)};

  const double before = now_ms();
  Session session(graph);
  session.run(inputs);
  const double first = now_ms() - before;
  std::vector<double> ms;
  for (const double end = now_ms() + o.seconds * 1e3; now_ms() < end;) {
    const double start = now_ms();
    session.run(inputs);
    ms.push_back(now_ms() - start);
  }
  std::printf(
      "{\"net\": \"mobilenet_v2\", \"what\": \"espalier fp32\", \"batch\": %d, \"size\": %d, \"threads\": "
      "%d, "
      "\"ms\": %.3f, \"least\": %.3f, \"p95\": %.3f, \"images_per_s\": %.1f, \"first_ms\": %.1f, "
      "\"arena_mib\": "
      "%.2f, "
      "\"packed_mib\": %.2f}\n",
      o.batch, o.size, o.threads, quantile(ms, 0.5), quantile(ms, 0), quantile(ms, 0.95),
      o.batch / quantile(ms, 0.5) * 1e3, first, static_cast<double>(session.arena_bytes()) / 1048576.0,
      static_cast<double>(session.packed_bytes()) / 1048576.0);
  if (o.layers) print_layers(session, inputs, o.seconds);
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
