// The table of layers' times against networks that were cut and timed:
//
//   bench_latency [--threads N] [MODEL SIZE]...
//
// cuts every group of the model to 7/8 ... 1/4 and to random widths, predicts the latency at batch 1 from the
// table and measures it, the unpruned network in turns with it. Weights are random: no time depends on them.

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/random.h"
#include "compress/prune.h"
#include "kernels/device.h"
#include "models/model_table.h"
#include "recipe/benchmark.h"
#include "recipe/stages.h"
#include "support/temporary_directory.h"
#include "timing.h"

namespace {

using namespace espalier;

std::vector<int> widths(const std::vector<ChannelGroup>& groups, double share, int multiple) {
  std::vector<int> kept;
  for (const ChannelGroup& g : groups) {
    const int k = static_cast<int>(std::ceil(g.channels * share / multiple)) * multiple;
    kept.push_back(std::min(g.channels, std::max(k, 8)));
  }
  return kept;
}

void row(const char* what, const Graph& graph, const LatencyTable& table, const std::vector<int>& kept) {
  PruningPlan plan{.criterion = "random"};
  const std::vector<ChannelGroup> groups = channel_groups(graph);
  for (size_t g = 0; g < groups.size(); ++g)
    plan.groups.push_back({.name = groups[g].name, .before = groups[g].channels, .kept = kept[g]});
  const Graph cut = prune(graph, plan);
  const std::vector<Timing> t = benchmark({&graph, &cut}, {.batch = 0, .seconds = 1});
  const double share = t[1].median_ms / t[0].median_ms, predicted = table.ms(kept) / table.full_ms();
  std::printf("  %-16s MACs %5.1f %%  measured %8.3f ms = %5.1f %%  predicted %5.1f %%  factor %.2f\n", what,
              100.0 * static_cast<double>(cost(cut).macs) / static_cast<double>(cost(graph).macs),
              t[1].median_ms, 100 * share, 100 * predicted, predicted / share);
  std::fflush(stdout);
}

void compare(const std::string& name, int size) {
  const Graph graph = build_model({name, 10, Json::object()}, size, 1);
  const std::vector<ChannelGroup> groups = channel_groups(graph);
  const test::TemporaryDirectory folder;
  const double start = now_ms();
  const LatencyTable table =
      latency_table(graph, folder.path() / "latency_table.json", {{"threads", kernels::threads()}});
  std::printf("%s %dx%d, %d threads: %d layers, %d times in %.1f s, %.3f ms whole\n", name.c_str(), size,
              size, kernels::threads(), table.layers(), table.measured(), (now_ms() - start) / 1000,
              table.full_ms());
  for (const auto& [words, share] :
       {std::pair{"7/8", 0.875}, {"3/4", 0.75}, {"5/8", 0.625}, {"1/2", 0.5}, {"3/8", 0.375}, {"1/4", 0.25}})
    row(str(words, " by 8").c_str(), graph, table, widths(groups, share, 8));
  row("1/2 by 16", graph, table, widths(groups, 0.5, 16));
  for (const uint64_t seed : {1, 2, 3, 4}) {
    Random random(seed, Purpose::kTest);
    std::vector<int> kept;
    for (const ChannelGroup& g : groups)
      kept.push_back(std::min(g.channels, 8 * (1 + random.below((g.channels + 7) / 8))));
    row(str("random ", seed).c_str(), graph, table, kept);
  }
}

}  // namespace

int main(int count, char** words) {
  std::vector<std::pair<std::string, int>> models;
  for (int i = 1; i + 1 < count; i += 2) {
    if (words[i] == std::string("--threads"))
      kernels::set_threads(std::stoi(words[i + 1]));
    else
      models.emplace_back(words[i], std::stoi(words[i + 1]));
  }
  if (models.empty()) models = {{"mobilenet_v2", 224}, {"yolov3_mobilenet_v1", 320}, {"unet", 256}};
  for (const auto& [name, size] : models) compare(name, size);
}
