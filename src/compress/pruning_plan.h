#pragma once
// What a selection decided: how many channels every group keeps, and what that saves.

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "graph/cost.h"

namespace espalier {

/// The decision for one group.
struct GroupPlan {
  std::string name;
  std::vector<std::string> layers;  ///< whose outputs are cut together
  int before = 0, kept = 0;
  std::vector<int> order;  ///< in which channels go, where the criterion needs pictures; else empty
  double ratio = 0;        ///< share removed
  double loss = 0;         ///< of this group alone, by its curve
  std::string reason;      ///< why it stays whole, empty for others: "excluded", "not measured", ...
};

struct PruningPlan {
  std::vector<GroupPlan> groups;    ///< every group of the graph, in order of the network
  std::string criterion;            ///< which channels go
  std::string rule;                 ///< "reference" or a SelectionRule's name
  std::string budget;               ///< the key that was given: "tolerance", "keep_macs", ...
  double budget_value = 0;          ///< what it was given
  std::optional<double> tolerance;  ///< given, or found for the budget
  double cut_share = 1;             ///< of each ratio that the tolerance allows; below 1 only at tolerance 0
  double predicted_loss = 0;        ///< 1 - product of (1 - loss): as if the groups did not interact
  Cost before, after;
  /// Milliseconds by the LatencyTable; absent where none was asked.
  std::optional<double> latency_before, latency_after;
};

/// {"rule", "criterion", "budget": {key: value}, "tolerance" or null, "cut_share", "predicted_loss",
/// "before", "after": {"parameters", "macs", "bytes", "predicted_ms" or null}, "groups": [{"name", "members":
/// [layers], "channels_before", "channels_after", "ratio", "predicted_loss", "reason"}]}.
Json to_json(const PruningPlan& plan);
/// A line a group, and the totals, for people.
std::string describe(const PruningPlan& plan);

}  // namespace espalier
