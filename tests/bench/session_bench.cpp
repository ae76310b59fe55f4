// Latency of FP32 and INT8 inference, in turns: bench_session [--net NAME] [--precision
// fp32|tf32|bf16|int8|both]
// [--device cpu|cuda] [--batch N] [--size N] [--width F] [--keep F] [--threads N] [--seconds F] [--layers].
// One JSON object a line, like the peers' timer. Weights are random, which the speed does not depend on.
// `both` is fp32 on the CPU and bf16 on a GPU, where the pictures lie there already, and int8. --layers adds
// the 5th percentile of the milliseconds of each kernel: what it takes where nobody disturbs.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>
#include <string>

#include "base/error.h"
#include "bench/timing.h"
#include "graph/cost.h"
#include "kernels/device.h"
#include "kernels/precision.h"
#include "models/model_table.h"
#include "passes/quantize.h"
#include "passes/remove_channels.h"
#include "runtime/session.h"
#include "tensor/device_choice.h"

namespace espalier {
namespace {

struct Net {
  const char* name;
  int classes, size;
};
constexpr Net kNets[] = {{"mobilenet_v2", 1000, 224},
                         {"mobilenet_v1", 1000, 224},
                         {"yolov3_mobilenet_v1", 6, 608},
                         {"unet", 2, 512}};

struct Options {
  Net net = kNets[0];
  std::string precision = "both";
  Device device = Device::kCpu;
  int batch = 1, size = 0, threads = kernels::threads();
  double width = 1, keep = 1, seconds = 5;
  bool layers = false;
};

Net find_net(const std::string& name) {
  for (const Net& net : kNets)
    if (net.name == name) return net;
  fail("bench_session: --net " + name + " is none of mobilenet_v2, mobilenet_v1, yolov3_mobilenet_v1, unet");
}

Device device_of(const std::string& name) {
  const auto choice = device_choice(name);
  ESPALIER_CHECK(choice, "bench_session: --device ", name, " is none of cpu, cuda, cuda:N, auto");
  return take_device(*choice);
}

Options parse(int count, char** arguments) {
  Options o;
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    const auto text = [&]() -> std::string {
      ESPALIER_CHECK(i + 1 < count, "bench_session: ", name, " needs a value");
      return arguments[++i];
    };
    const auto number = [&] { return std::stod(text()); };
    if (name == "--net")
      o.net = find_net(text());
    else if (name == "--precision")
      o.precision = text();
    else if (name == "--device")
      o.device = device_of(text());
    else if (name == "--batch")
      o.batch = static_cast<int>(number());
    else if (name == "--size")
      o.size = static_cast<int>(number());
    else if (name == "--width")
      o.width = number();
    else if (name == "--threads")
      o.threads = static_cast<int>(number());
    else if (name == "--keep")
      o.keep = number();
    else if (name == "--seconds")
      o.seconds = number();
    else if (name == "--layers")
      o.layers = true;
    else
      fail("bench_session: unknown option " + name);
  }
  const std::vector<std::string> known = {"fp32", "tf32", "bf16", "int8", "both"};
  ESPALIER_CHECK(std::find(known.begin(), known.end(), o.precision) != known.end(),
                 "bench_session: --precision ", o.precision, " is none of fp32, tf32, bf16, int8, both");
  if (!o.size) o.size = o.net.size;
  return o;
}

struct Runner {
  std::string precision;
  Session session;
  double first_ms = 0;
  std::vector<double> ms;
};

/// Leaves this share of every group of channels, rounded to any number.
void cut(Graph& graph, double keep) {
  std::vector<Removal> removals;
  for (const ChannelGroup& group : channel_groups(graph)) {
    const int left = std::clamp(static_cast<int>(std::lround(keep * group.channels)), 1, group.channels);
    Removal removal{group, std::vector<int>(static_cast<size_t>(group.channels - left))};
    std::iota(removal.channels.begin(), removal.channels.end(), left);
    removals.push_back(std::move(removal));
  }
  remove_channels(graph, removals);
}

std::vector<Runner> make_runners(const Options& o) {
  const Json options = o.width == 1 ? Json::object() : Json{{"width", o.width}};
  Graph fp32 = build_model({.name = o.net.name, .classes = o.net.classes, .options = options}, o.size, 1);
  if (o.keep < 1) cut(fp32, o.keep);
  std::vector<Runner> runners;
  if (o.precision != "int8") {
    const std::string floats = o.precision != "both"      ? o.precision
                               : o.device == Device::kCpu ? "fp32"
                                                          : "bf16";
    kernels::set_precision(kernels::precision_from_name(floats));
    runners.push_back({floats, Session(fp32.to(o.device))});
  }
  if (o.precision == "int8" || o.precision == "both") {
    const Graph prepared = prepare_for_quantization(fp32);
    std::map<std::string, float> ranges;
    for (const Graph::Value& v : prepared.values)
      if (!v.param.defined()) ranges[v.name] = 6;
    runners.push_back({"int8", Session(quantize(prepared, ranges).to(o.device))});
  }
  return runners;
}

void print(const Options& o, const Runner& r) {
  const auto mib = [](int64_t bytes) { return static_cast<double>(bytes) / 1048576.0; };
  std::printf(
      "{\"net\": \"%s\", \"what\": \"espalier %s\", \"batch\": %d, \"size\": %d, \"threads\": %d, \"ms\": "
      "%.3f, "
      "\"p5\": %.3f, \"p95\": %.3f, \"images_per_s\": %.1f, \"first_ms\": %.1f, \"arena_mib\": %.2f, "
      "\"packed_mib\": %.2f}\n",
      o.net.name, r.precision.c_str(), o.batch, o.size, o.threads, quantile(r.ms, 0.5), quantile(r.ms, 0.05),
      quantile(r.ms, 0.95), o.batch / quantile(r.ms, 0.5) * 1e3, r.first_ms, mib(r.session.arena_bytes()),
      mib(r.session.packed_bytes()));
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
  const Tensors inputs = {random_images(o.batch, o.size).to(o.device)};
  std::vector<Runner> runners = make_runners(o);
  for (Runner& r : runners) {
    const double start = now_ms();
    r.session.run(inputs);
    r.first_ms = now_ms() - start;
  }
  constexpr int kTurns = 20;  // so that what else the machine does falls on both
  const double share_ms = o.seconds * 1e3 / kTurns / static_cast<double>(runners.size());
  for (int turn = -1; turn < kTurns; ++turn)
    for (Runner& r : runners)
      for (const double end = now_ms() + share_ms; now_ms() < end;) {
        const double start = now_ms();
        r.session.run(inputs);
        if (turn >= 0) r.ms.push_back(now_ms() - start);
      }
  for (Runner& r : runners) {
    print(o, r);
    if (o.layers) print_layers(r.session, inputs, o.seconds);
  }
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
