// Which points of the curves a decision depends on, and decisions that stand on enough images.

#include <algorithm>

#include "compress/curve.h"
#include "compress/select.h"

namespace espalier {

namespace {

/// One group, what it was told to keep, and the neighbours of that on its curve: places in its points.
class GroupDecision {
 public:
  GroupDecision(const Sensitivity& s, const SelectOptions& options, const PruningPlan& plan,
                const GroupPlan& group, const GroupSensitivity& curve)
      : s_(s), options_(options), plan_(plan), group_(group), points_(curve.points) {
    const size_t above = std::find_if(points_.begin(), points_.end(),
                                      [&](const auto& p) { return p.ratio > group.ratio + 1e-9; }) -
                         points_.begin();
    if (above > 0) neighbours_.push_back(above - 1);
    if (above < points_.size()) neighbours_.push_back(above);
  }

  std::vector<double> ratios() {
    const bool by_tolerance = plan_.tolerance && plan_.rule != name(SelectionRule::kGreedy);
    std::vector<double> ratios;
    if (!by_tolerance || changes(0))
      for (const size_t i : neighbours_) ratios.push_back(points_[i].ratio);
    return ratios;
  }

 private:
  /// Whether some loss within the intervals of the neighbours from `n` on, beside those chosen for the ones
  /// before, makes the group keep another number.
  bool changes(size_t n) {
    if (n == neighbours_.size()) return kept() != group_.kept;
    SensitivityPoint& point = points_[neighbours_[n]];
    const double baseline = point.samples > 0 ? s_.refined.baseline : s_.baseline, measured = point.loss;
    bool found = false;
    for (const double loss :
         {measured, (baseline - point.high) / baseline, (baseline - point.low) / baseline}) {
      point.loss = loss;
      found = found || changes(n + 1);
    }
    point.loss = measured;
    return found;
  }

  int kept() const {
    const Curve curve(points_);
    const double ratio = plan_.rule == "reference" ? ratio_for_tolerance(points_, *plan_.tolerance)
                                                   : plan_.cut_share * curve.ratio_within(*plan_.tolerance);
    return kept_channels(group_.before, std::min(ratio, curve.largest_ratio()), options_);
  }

  const Sensitivity& s_;
  const SelectOptions& options_;
  const PruningPlan& plan_;
  const GroupPlan& group_;
  std::vector<SensitivityPoint> points_;
  std::vector<size_t> neighbours_;
};

}  // namespace

std::vector<PointName> decisive_points(const Sensitivity& sensitivity, const SelectOptions& options,
                                       const PruningPlan& plan) {
  std::vector<PointName> points;
  if (plan.rule == name(SelectionRule::kUniform)) return points;
  for (const GroupPlan& group : plan.groups) {
    const GroupSensitivity* curve = sensitivity.find(group.name);
    if (!curve || group.reason == "excluded" || group.reason == "narrow") continue;
    for (const double ratio : GroupDecision(sensitivity, options, plan, group, *curve).ratios())
      points.push_back({group.name, ratio});
  }
  return points;
}

PruningPlan select_channels_refined(const Graph& graph, const Task& task, BatchSource& more,
                                    const std::filesystem::path& file, Sensitivity& sensitivity,
                                    const SelectOptions& options, const LatencyTable* latency) {
  PruningPlan plan = select_channels(graph, sensitivity, options, latency);
  while (refine_sensitivity(graph, task, more, file, decisive_points(sensitivity, options, plan),
                            sensitivity) > 0)
    plan = select_channels(graph, sensitivity, options, latency);
  return plan;
}

}  // namespace espalier
