#include "compress/pruning_plan.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace espalier {

Json to_json(const PruningPlan& plan) {
  const auto totals = [](const Cost& c, const std::optional<double>& ms) {
    return Json{{"parameters", c.parameters},
                {"macs", c.macs},
                {"bytes", c.bytes},
                {"predicted_ms", ms ? Json(*ms) : Json(nullptr)}};
  };
  Json groups = Json::array();
  for (const GroupPlan& g : plan.groups)
    groups.push_back({{"name", g.name},
                      {"members", g.layers},
                      {"channels_before", g.before},
                      {"channels_after", g.kept},
                      {"ratio", g.ratio},
                      {"predicted_loss", g.loss},
                      {"reason", g.reason}});
  return {{"rule", plan.rule},
          {"criterion", plan.criterion},
          {"budget", {{plan.budget, plan.budget_value}}},
          {"tolerance", plan.tolerance ? Json(*plan.tolerance) : Json(nullptr)},
          {"cut_share", plan.cut_share},
          {"predicted_loss", plan.predicted_loss},
          {"before", totals(plan.before, plan.latency_before)},
          {"after", totals(plan.after, plan.latency_after)},
          {"groups", groups}};
}

std::string describe(const PruningPlan& plan) {
  size_t width = 5;
  for (const GroupPlan& g : plan.groups) width = std::max(width, g.name.size());
  std::string text = fmt::format("{:<{}} {:>8} {:>6} {:>7}  {}\n", "group", width, "channels", "kept", "loss",
                                 "layers cut together, or why it stays whole");
  for (const GroupPlan& g : plan.groups) {
    std::string note = g.reason;
    if (note.empty())
      for (const std::string& layer : g.layers) note += (note.empty() ? "" : ", ") + layer;
    text += fmt::format("{:<{}} {:>8} {:>6} {:>5.1f} %  {}\n", g.name, width, g.before, g.kept, 100 * g.loss,
                        note);
  }
  const auto share = [](int64_t a, int64_t b) {
    return 100.0 * static_cast<double>(a) / static_cast<double>(b);
  };
  text += fmt::format("MACs {} -> {} ({:.1f} %), parameters {} -> {} ({:.1f} %); rule {}", plan.before.macs,
                      plan.after.macs, share(plan.after.macs, plan.before.macs), plan.before.parameters,
                      plan.after.parameters, share(plan.after.parameters, plan.before.parameters), plan.rule);
  if (plan.tolerance) text += fmt::format(", tolerance {:.2f} %", 100 * *plan.tolerance);
  if (plan.cut_share < 1) text += fmt::format(" and {:.1f} % of what it allows", 100 * plan.cut_share);
  if (plan.latency_after)
    text += fmt::format(", predicted latency {:.3f} -> {:.3f} ms", *plan.latency_before, *plan.latency_after);
  return text + fmt::format(", predicted loss {:.1f} % before retraining\n", 100 * plan.predicted_loss);
}

}  // namespace espalier
