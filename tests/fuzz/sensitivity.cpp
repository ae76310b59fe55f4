// A sensitivity file, and what is decided by it.

#include "compress/sensitivity.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "compress/select.h"
#include "fuzz/target.h"
#include "passes/quantized_network.h"
#include "support/temporary_directory.h"

namespace espalier::test {

namespace {

const Graph& network() {
  static const Graph graph = small_network();
  return graph;
}

}  // namespace

std::vector<std::string> seeds() {
  Sensitivity s{.metric_name = "top1",
                .baseline = 0.9,
                .baseline_loss = 0.3,
                .samples = 100,
                .criterion = "l1",
                .ratios = {0.25, 0.5}};
  for (const ChannelGroup& group : channel_groups(network())) {
    GroupSensitivity measured{.name = group.name, .channels = group.channels};
    for (const double ratio : s.ratios)
      measured.points.push_back({.ratio = ratio,
                                 .removed = static_cast<int>(group.channels * ratio),
                                 .metric = 0.8,
                                 .loss = ratio / 4,
                                 .evaluation_loss = 0.5});
    s.groups.push_back(measured);
  }
  return {to_json(s).dump()};
}

void read(const std::string& input) {
  static const TemporaryDirectory folder;
  const std::filesystem::path file = folder.path() / "sensitivity.json";
  put(file, input);
  try {
    const Sensitivity s = load_sensitivity(file);
    check_same_groups(s, network(), file.string());
    sensitivity_table(s);
    sensitivity_csv(s);
    for (const SelectionRule rule :
         {SelectionRule::kTolerance, SelectionRule::kGreedy, SelectionRule::kUniform})
      try {
        select_channels(network(), s,
                        {.keep_macs = 0.5, .rule = rule, .keep_multiple_of = 1, .min_channels = 1});
      } catch (const Error&) {
      }
  } catch (const Error&) {
  }
}

}  // namespace espalier::test
