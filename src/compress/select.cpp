#include "compress/select.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/nearest.h"
#include "compress/criterion.h"
#include "compress/curve.h"
#include "compress/latency_table.h"
#include "compress/widths.h"

namespace espalier {

namespace {

/// What is given: its key, its value, and what it counts; null: milliseconds.
struct Budget {
  const char* key;
  double value;
  int64_t Cost::*counts;
  bool absolute;  ///< no share of what the network costs whole
};

/// The one that is given; tolerance counts nothing.
Budget budget_of(const SelectOptions& o) {
  std::vector<Budget> given;
  const auto add = [&](const char* key, const std::optional<double>& value, int64_t Cost::*counts,
                       bool absolute = false) {
    if (value) given.push_back({key, *value, counts, absolute});
  };
  add("tolerance", o.tolerance, nullptr);
  add("keep_macs", o.keep_macs, &Cost::macs);
  add("keep_parameters", o.keep_parameters, &Cost::parameters);
  add("keep_bytes", o.keep_bytes, &Cost::bytes);
  add("keep_latency", o.keep_latency, nullptr);
  add("latency_ms", o.latency_ms, nullptr, true);
  ESPALIER_CHECK(given.size() == 1, "prune: ", given.empty() ? "none" : "more than one", " of ",
                 kBudgetKeysText, " is given; say exactly one");
  return given[0];
}

/// Which channels go by a criterion that needs pictures is known for one model only.
void check_orders(const Graph& graph, const Sensitivity& sensitivity, const SelectOptions& o) {
  const std::string& criterion = o.criterion.empty() ? sensitivity.criterion : o.criterion;
  if (find_criterion(criterion).score) return;
  ESPALIER_CHECK(sensitivity.criterion == criterion, "prune: criterion ", criterion,
                 " needs pictures, and the sensitivities were measured by ", sensitivity.criterion,
                 "; measure them by ", criterion);
  ESPALIER_CHECK(sensitivity.model == graph.hash(),
                 "prune: the sensitivities order the channels of other weights by ", criterion,
                 "; measure them on this model, or say criterion l1");
}

int multiple_of(int channels, const SelectOptions& o) {
  const bool narrow = channels < 4 * o.keep_multiple_of;
  return o.halve_for_narrow && narrow ? std::max(1, o.keep_multiple_of / 2) : o.keep_multiple_of;
}

/// `kept` of a group's channels as the multiple that is not less.
int rounded_up(int kept, int channels, const SelectOptions& o) {
  const int multiple = multiple_of(channels, o);
  return (kept + multiple - 1) / multiple * multiple;
}

/// Channel counts under discussion, and what a network of such counts costs.
class Selector {
 public:
  Selector(const Graph& graph, const Sensitivity& sensitivity, const SelectOptions& options,
           const LatencyTable* latency)
      : graph_(graph),
        sensitivity_(sensitivity),
        options_(options),
        latency_(latency),
        budget_(budget_of(options)),
        groups_(channel_groups(graph)) {
    plan_.criterion = options.criterion.empty() ? sensitivity.criterion : options.criterion;
    plan_.before = cost(graph);
    plan_.budget = budget_.key;
    plan_.budget_value = budget_.value;
    const std::vector<bool> wanted = filter_groups(graph, groups_, options.groups);
    for (size_t g = 0; g < groups_.size(); ++g) {
      const GroupSensitivity* measured = sensitivity.find(groups_[g].name);
      const int channels = groups_[g].channels;
      const std::vector<SensitivityPoint> points =
          measured ? measured->points : std::vector<SensitivityPoint>();
      curves_.emplace_back(points);
      damages_.emplace_back(points, &SensitivityPoint::evaluation_loss, sensitivity.baseline_loss);
      least_.push_back(kept_at(g, 1));
      GroupPlan plan{.name = groups_[g].name, .layers = layers_of(graph, groups_[g])};
      if (measured && !find_criterion(plan_.criterion).score) plan.order = measured->order;
      plan.before = plan.kept = channels;
      if (!wanted[g])
        plan.reason = "excluded";
      else if (!measured || measured->points.empty())
        plan.reason = "not measured";
      else if (least_[g] == channels)
        plan.reason = "narrow";
      if (!plan.reason.empty()) least_[g] = channels;
      plan_.groups.push_back(std::move(plan));
    }
  }

  /// Each group by its own curve as it was measured.
  void by_reference_rule() {
    plan_.rule = "reference";
    plan_.tolerance = options_.tolerance;
    for (size_t g = 0; g < groups_.size(); ++g)
      if (may_shrink(g))
        set(g, ratio_for_tolerance(sensitivity_.find(groups_[g].name)->points, *options_.tolerance));
  }

  /// The least loss of a point at which a group is smaller.
  std::optional<double> least_loss() const {
    std::optional<double> least;
    for (size_t g = 0; g < groups_.size(); ++g)
      if (may_shrink(g))
        for (const SensitivityPoint& p : sensitivity_.find(groups_[g].name)->points)
          if (kept_at(g, p.ratio) < groups_[g].channels && (!least || p.loss < *least)) least = p.loss;
    return least;
  }

  /// The least tolerance whose counts meet the budget: what is kept never grows with the tolerance. Tolerance
  /// 0 already cuts every group to the end of what its curve has for nothing. Where that is more than the
  /// budget asks for, every group gives up the same share of it, the least that meets the budget.
  void by_tolerance() {
    const auto within = [this](size_t g, double tolerance) { return curves_[g].ratio_within(tolerance); };
    const auto part_of_free = [this](size_t g, double share) { return share * curves_[g].ratio_within(0); };
    double high = 0;
    for (const Curve& curve : curves_) high = std::max(high, curve.largest_loss());
    plan_.rule = name(SelectionRule::kTolerance);
    plan_.tolerance = bisect(high, within);
    if (*plan_.tolerance == 0) plan_.cut_share = bisect(1, part_of_free);
  }

  /// The least ratio that meets the budget when every group gives it up.
  void by_one_ratio() {
    plan_.rule = name(SelectionRule::kUniform);
    bisect(options_.max_ratio, [](size_t, double ratio) { return ratio; });
  }

  /// Again and again the step that costs least for what it saves. One step at a time: what a curve does
  /// behind a cliff, where all is lost already, must not make the cliff look cheap.
  void by_greed() {
    plan_.rule = name(SelectionRule::kGreedy);
    for (double now = price(); over_budget() > 0; now = price()) {
      size_t best = groups_.size();
      double best_rate = 0, best_saved = 0;
      for (size_t g = 0; g < groups_.size(); ++g) {
        int& kept = plan_.groups[g].kept;
        const int before = kept;
        if (before <= least_[g]) continue;
        kept = std::max(least_[g], next_below(g, before));
        // Fewer channels may save no time at all.
        const double saved = std::max(now - price(), 1e-9 * now);
        const double rate = (damage(g, kept) - damage(g, before)) / saved;
        kept = before;
        if (best == groups_.size() || rate < best_rate || (rate == best_rate && saved > best_saved)) {
          best = g;
          best_rate = rate;
          best_saved = saved;
        }
      }
      int& kept = plan_.groups[best].kept;
      kept = std::max(least_[best], next_below(best, kept));
    }
  }

  /// Throws Error with what is reachable when the budget is not.
  void check_reachable() {
    for (size_t g = 0; g < groups_.size(); ++g) plan_.groups[g].kept = least_[g];
    const bool reachable = over_budget() <= 0;
    const double least = price();
    for (GroupPlan& group : plan_.groups) group.kept = group.before;
    ESPALIER_CHECK(reachable, "prune: ", budget_.key, " ", budget_.value,
                   " cannot be met: with every group cut as far as its curve, max_ratio, min_channels, ",
                   "include and exclude allow, ",
                   budget_.absolute ? fmt::format("{:.3f} ms", least)
                                    : fmt::format("{:.1f} %", 100 * least / full_price()),
                   " are left; raise it, or allow more",
                   sensitivity_.stop_loss < 1
                       ? str(" (curves end where a group loses more than ", 100 * sensitivity_.stop_loss,
                             " %: measure on with stop_loss: 1)")
                       : "");
  }

  PruningPlan finish() {
    double kept = 1;
    for (size_t g = 0; g < groups_.size(); ++g) {
      GroupPlan& group = plan_.groups[g];
      group.ratio = 1.0 - static_cast<double>(group.kept) / group.before;
      group.loss = curves_[g].loss(ratio_of(g, group.kept));
      if (group.kept == group.before && group.reason.empty()) group.reason = "sensitive";
      kept *= 1 - std::min(1.0, group.loss);
    }
    plan_.predicted_loss = 1 - kept;
    plan_.after = cost_at(graph_, metas_at(graph_, groups_, kept_now()));
    if (latency_) {
      plan_.latency_before = latency_->full_ms();
      plan_.latency_after = latency_->ms(kept_now());
    }
    return std::move(plan_);
  }

 private:
  /// Sets every group to ratio_of(group, x) for the least x of [0, high] that meets the budget, and returns
  /// x.
  template <class RatioOf>
  double bisect(double high, const RatioOf& ratio_of) {
    const auto meets = [&](double x) {
      for (size_t g = 0; g < groups_.size(); ++g)
        if (may_shrink(g)) set(g, ratio_of(g, x));
      return over_budget() <= 0;
    };
    double low = 0;
    if (meets(0)) high = 0;
    for (int step = 0; step < 50 && high > 0; ++step)
      (meets((low + high) / 2) ? high : low) = (low + high) / 2;
    if (over_budget() > 0) meets(high);
    return high;
  }

  bool may_shrink(size_t g) const { return least_[g] < groups_[g].channels; }
  double ratio_of(size_t g, int kept) const { return 1.0 - static_cast<double>(kept) / groups_[g].channels; }
  double damage(size_t g, int kept) const { return damages_[g].loss(ratio_of(g, kept)); }

  /// What a group keeps at a ratio, within the bounds of its curve too.
  int kept_at(size_t g, double ratio) const {
    if (options_.rule != SelectionRule::kUniform) ratio = std::min(ratio, curves_[g].largest_ratio());
    return kept_channels(groups_[g].channels, ratio, options_);
  }
  void set(size_t g, double ratio) { plan_.groups[g].kept = kept_at(g, ratio); }
  int next_below(size_t g, int kept) const {
    const int channels = groups_[g].channels;
    return rounded_up(kept, channels, options_) - multiple_of(channels, options_);
  }

  std::vector<int> kept_now() const {
    std::vector<int> kept;
    for (const GroupPlan& group : plan_.groups) kept.push_back(group.kept);
    return kept;
  }
  /// What the network of now costs in what the budget counts: ms, or a member of Cost.
  double price() const {
    if (!budget_.counts) return latency_->ms(kept_now());
    return static_cast<double>(cost_at(graph_, metas_at(graph_, groups_, kept_now())).*budget_.counts);
  }
  double full_price() const {
    return budget_.counts ? static_cast<double>(plan_.before.*budget_.counts) : latency_->full_ms();
  }
  double limit() const { return budget_.absolute ? budget_.value : budget_.value * full_price(); }
  double over_budget() const { return price() - limit(); }

  const Graph& graph_;
  const Sensitivity& sensitivity_;
  const SelectOptions& options_;
  const LatencyTable* latency_;
  Budget budget_;
  std::vector<ChannelGroup> groups_;
  std::vector<Curve> curves_, damages_;  ///< per group: of the metric's and of the evaluation's loss
  std::vector<int> least_;               ///< per group: the fewest channels it may keep
  PruningPlan plan_;
};

}  // namespace

SelectionRule selection_rule_from_name(const std::string& text) {
  for (const SelectionRule rule :
       {SelectionRule::kTolerance, SelectionRule::kGreedy, SelectionRule::kUniform})
    if (text == name(rule)) return rule;
  fail(str("selection rule '", text, "' is unknown", did_you_mean(text, {"tolerance", "greedy", "uniform"})));
}

const char* name(SelectionRule rule) {
  switch (rule) {
    case SelectionRule::kTolerance:
      return "tolerance";
    case SelectionRule::kGreedy:
      return "greedy";
    case SelectionRule::kUniform:
      break;
  }
  return "uniform";
}

int kept_channels(int channels, double ratio, const SelectOptions& options) {
  ratio = std::min(ratio, options.max_ratio);
  const int kept = std::max(options.min_channels, channels - removed_count(channels, ratio));
  return std::min(channels, rounded_up(kept, channels, options));
}

double ratio_for_tolerance(const std::vector<SensitivityPoint>& points, double tolerance) {
  for (size_t i = points.size(); i-- > 0;) {
    const SensitivityPoint& a = points[i];
    if (a.loss > tolerance) continue;
    if (i + 1 == points.size()) return a.ratio;
    const SensitivityPoint& b = points[i + 1];
    return a.ratio + (tolerance - a.loss) * (b.ratio - a.ratio) / (b.loss - a.loss);
  }
  return 0;
}

std::optional<double> tolerance_that_removes(const Graph& graph, const Sensitivity& sensitivity,
                                             const SelectOptions& options) {
  return Selector(graph, sensitivity, options, nullptr).least_loss();
}

void check_options(const SelectOptions& o) {
  const Budget budget = budget_of(o);
  ESPALIER_CHECK(!o.tolerance || o.rule == SelectionRule::kTolerance, "prune: rule ", name(o.rule),
                 " is for a budget, and tolerance is given; give keep_macs, keep_parameters or keep_bytes");
  if (!o.criterion.empty()) find_criterion(o.criterion);
  ESPALIER_CHECK(!o.tolerance || (*o.tolerance >= 0 && *o.tolerance <= 1), "prune: tolerance ",
                 o.tolerance.value_or(0), " is no share of the metric; give 0 .. 1");
  ESPALIER_CHECK(o.tolerance || (budget.value > 0 && (budget.absolute || budget.value <= 1)),
                 "prune: ", budget.key, " ", budget.value,
                 budget.absolute ? " is no time; give milliseconds" : " is no share; give 0 < share <= 1");
  ESPALIER_CHECK(o.keep_multiple_of >= 1 && o.min_channels >= 1, "prune: keep_multiple_of is ",
                 o.keep_multiple_of, " and min_channels ", o.min_channels, "; both must be at least 1");
  ESPALIER_CHECK(o.max_ratio >= 0 && o.max_ratio < 1, "prune: max_ratio ", o.max_ratio,
                 " would leave nothing; give 0 <= max_ratio < 1");
}

PruningPlan select_channels(const Graph& graph, const Sensitivity& sensitivity, const SelectOptions& options,
                            const LatencyTable* latency) {
  check_options(options);
  check_same_groups(sensitivity, graph, "sensitivities");
  check_orders(graph, sensitivity, options);
  ESPALIER_CHECK(latency || (!options.keep_latency && !options.latency_ms),
                 "prune: a budget of latency needs a table of this machine's times");
  Selector selector(graph, sensitivity, options, latency);
  if (options.tolerance) {
    selector.by_reference_rule();
  } else {
    selector.check_reachable();
    switch (options.rule) {
      case SelectionRule::kTolerance:
        selector.by_tolerance();
        break;
      case SelectionRule::kGreedy:
        selector.by_greed();
        break;
      case SelectionRule::kUniform:
        selector.by_one_ratio();
    }
  }
  return selector.finish();
}

}  // namespace espalier
