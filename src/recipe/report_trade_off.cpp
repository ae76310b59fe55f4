// What a tolerance keeps: the prune stage's own rule at many tolerances, and the time that some of them take.

#include <algorithm>

#include "compress/prune.h"
#include "recipe/benchmark.h"
#include "recipe/report.h"

namespace espalier {

namespace {

/// At most `count` steps that differ in MACs, from the largest network to the smallest, about equally far
/// apart in them.
std::vector<size_t> steps_to_time(const std::vector<PruningPlan>& plans, size_t count) {
  std::vector<size_t> distinct;
  for (size_t i = 0; i < plans.size(); ++i)
    if (i == 0 || plans[i].after.macs != plans[distinct.back()].after.macs) distinct.push_back(i);
  if (distinct.size() <= count) return distinct;
  const auto macs = [&](size_t at) { return static_cast<double>(plans[distinct[at]].after.macs); };
  const double step = (macs(0) - macs(distinct.size() - 1)) / static_cast<double>(count - 1);
  std::vector<size_t> chosen = {distinct[0]};
  double next = macs(0) - step;
  for (size_t at = 1; at < distinct.size(); ++at) {
    if (at + 1 < distinct.size() && macs(at) > next) continue;
    chosen.push_back(distinct[at]);
    next = macs(at) - step;
  }
  return chosen;
}

}  // namespace

Json trade_off(const Graph& graph, const Sensitivity& sensitivity, SelectOptions options,
               const std::vector<double>& tolerances, double seconds, Device device) {
  std::vector<PruningPlan> plans;
  for (const double tolerance : tolerances) {
    options.tolerance = tolerance;
    plans.push_back(select_channels(graph, sensitivity, options));
  }
  Json steps = Json::array(), groups = Json::array();
  for (const GroupPlan& group : plans.at(0).groups)
    groups.push_back({{"name", group.name}, {"channels", group.before}});
  for (size_t i = 0; i < plans.size(); ++i) {
    Json kept = Json::array();
    for (const GroupPlan& group : plans[i].groups) kept.push_back(group.kept);
    steps.push_back({{"tolerance", tolerances[i]},
                     {"kept", kept},
                     {"parameters", plans[i].after.parameters},
                     {"macs", plans[i].after.macs},
                     {"bytes", plans[i].after.bytes},
                     {"predicted_loss", plans[i].predicted_loss}});
  }
  const Cost& full = plans.at(0).before;
  Json before = {{"parameters", full.parameters}, {"macs", full.macs}, {"bytes", full.bytes}};
  if (seconds > 0) {
    constexpr size_t kTimed = 10;
    const std::vector<size_t> timed = steps_to_time(plans, kTimed);
    std::vector<Graph> networks = {graph.to(device)};
    for (const size_t i : timed) networks.push_back(prune(graph, plans[i]).to(device));
    std::vector<const Graph*> pointers;
    for (const Graph& network : networks) pointers.push_back(&network);
    const std::vector<Timing> timings = benchmark(pointers, {.batch = 0, .seconds = seconds});
    before["ms"] = timings[0].median_ms;
    for (size_t i = 0; i < timed.size(); ++i) steps[timed[i]]["ms"] = timings[i + 1].median_ms;
  }
  return {{"groups", groups}, {"before", before}, {"steps", steps}};
}

}  // namespace espalier
