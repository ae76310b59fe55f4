#pragma once
// From curves to channel counts: how many channels each group keeps.

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "compress/latency_table.h"
#include "compress/pruning_plan.h"
#include "compress/sensitivity.h"

namespace espalier {

/// How a budget is met.
enum class SelectionRule {
  /// One tolerance for all groups, found by bisection: each loses as much as its own curve allows. Where
  /// curves are so flat that tolerance 0 goes below the budget, one share of that cut for all.
  kTolerance,
  /// Step by step the cut that adds least to the evaluation loss for what it saves. Not to the metric's loss,
  /// which saturates where damage does not: a group all but destroyed would be the cheapest to cut further.
  kGreedy,
  /// One ratio for all groups, found by bisection, whatever the curves say: what pruning without measuring
  /// does.
  kUniform,
};
SelectionRule selection_rule_from_name(const std::string& name);  ///< "tolerance", "greedy" or "uniform"
const char* name(SelectionRule rule);

/// What select_channels() can be told to meet, as messages list it.
inline constexpr std::array<const char*, 6> kBudgetKeys = {"tolerance",  "keep_macs",    "keep_parameters",
                                                           "keep_bytes", "keep_latency", "latency_ms"};
inline constexpr const char* kBudgetKeysText =
    "tolerance, keep_macs, keep_parameters, keep_bytes, keep_latency and latency_ms";

/// Exactly one of the first six must be given.
struct SelectOptions {
  std::optional<double> tolerance;        ///< largest loss of a single group (the reference's rule)
  std::optional<double> keep_macs;        ///< share of the multiply-accumulates to keep at most
  std::optional<double> keep_parameters;  ///< share of the parameters to keep at most
  std::optional<double> keep_bytes;       ///< share of the parameters' bytes to keep at most
  std::optional<double> keep_latency;     ///< share of the unpruned network's latency to keep at most
  std::optional<double> latency_ms;       ///< milliseconds at batch 1, at most
  SelectionRule rule = SelectionRule::kTolerance;  ///< for budgets
  std::string criterion;  ///< which channels of a group go first; empty: what the curves were measured with
  int keep_multiple_of = 8;  ///< channels left are a multiple, unless nothing is removed
  /// Groups of fewer than four multiples keep one of half of it: a whole one would be a quarter of the group.
  bool halve_for_narrow = false;
  int min_channels = 8;    ///< least width of a group; narrower groups stay whole
  double max_ratio = 0.9;  ///< largest share of one group to remove
  GroupFilter groups;      ///< which ones may be cut
};

/// The reference's rule on one curve: the largest ratio whose loss is within the tolerance, interpolated
/// linearly towards the next point; 0 if there is none.
double ratio_for_tolerance(const std::vector<SensitivityPoint>& points, double tolerance);

/// What a group keeps at a ratio: within the options' bounds, a multiple unless whole.
int kept_channels(int channels, double ratio, const SelectOptions& options);

/// A tolerance with which the reference's rule removes something, and less than which it hardly does: the
/// least loss of a measured point that is within the options' bounds. Nothing where no point is.
std::optional<double> tolerance_that_removes(const Graph& graph, const Sensitivity& sensitivity,
                                             const SelectOptions& options);

/// Throws Error for options that contradict each other or are out of range.
void check_options(const SelectOptions& options);

/// Budgets of latency are counted with `latency`, which is of the same graph; where it is given, the plan
/// says what it predicts. Decides for every group of the graph. Groups that the curves do not cover stay
/// whole, and the plan says so. A budget holds after rounding; one that cannot be met is an Error that says
/// what can. Throws Error when the curves are of other groups (check_same_groups), for options out of range,
/// and patterns that match nothing.
PruningPlan select_channels(const Graph& graph, const Sensitivity& sensitivity, const SelectOptions& options,
                            const LatencyTable* latency = nullptr);

/// The measured points that a plan by curves depends on. A group's neighbours are the points on both sides of
/// what it loses, or the first where it stays whole although it may be cut. By a tolerance, given or found,
/// they count where the group would keep another number of channels with them elsewhere in their 95 %
/// intervals; greedy takes all neighbours, and a uniform cut depends on none. `options` are the plan's.
std::vector<PointName> decisive_points(const Sensitivity& sensitivity, const SelectOptions& options,
                                       const PruningPlan& plan);

/// Selects, measures what the decision depends on again on `more` images, and selects anew, until the
/// decision stands on those. What is measured goes into `sensitivity` and `file` (refine_sensitivity()).
PruningPlan select_channels_refined(const Graph& graph, const Task& task, BatchSource& more,
                                    const std::filesystem::path& file, Sensitivity& sensitivity,
                                    const SelectOptions& options, const LatencyTable* latency = nullptr);

}  // namespace espalier
