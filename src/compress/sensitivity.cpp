#include "compress/sensitivity.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "compress/criterion.h"
#include "compress/sweep.h"
#include "graph/cost.h"

namespace espalier {

namespace {

bool same_ratio(double a, double b) { return std::abs(a - b) < 1e-9; }

const SensitivityPoint* point_at(const GroupSensitivity& group, double ratio) {
  for (const SensitivityPoint& point : group.points)
    if (same_ratio(point.ratio, ratio)) return &point;
  return nullptr;
}

void insert(GroupSensitivity& group, const SensitivityPoint& point) {
  const auto after = std::find_if(group.points.begin(), group.points.end(),
                                  [&](const SensitivityPoint& p) { return p.ratio > point.ratio; });
  group.points.insert(after, point);
}

std::vector<double> checked_ratios(std::vector<double> ratios) {
  ESPALIER_CHECK(!ratios.empty(), "sensitivity: no ratio was given; the usual ones are 0.1, 0.2, ... 0.9");
  for (const double r : ratios)
    ESPALIER_CHECK(r > 0 && r < 1, "sensitivity: ratio ", r, " is no share of channels; give 0 < ratio < 1");
  std::sort(ratios.begin(), ratios.end());
  ratios.erase(std::unique(ratios.begin(), ratios.end(), same_ratio), ratios.end());
  return ratios;
}

/// True when a smaller ratio already lost more than `stop_loss`.
bool ended_before(const GroupSensitivity& group, double ratio, double stop_loss) {
  return std::any_of(group.points.begin(), group.points.end(), [&](const SensitivityPoint& p) {
    return p.ratio < ratio && !same_ratio(p.ratio, ratio) && p.loss > stop_loss;
  });
}

GroupSensitivity describe(const Graph& graph, const ChannelGroup& group) {
  GroupSensitivity g{.name = group.name, .channels = group.channels};
  for (size_t i = 0; i < group.members.size(); ++i)
    g.members.push_back({graph.values[group.members[i].value].name, group.members[i].axis, group.tied_by[i]});
  return g;
}

SensitivityPoint point_of(const MetricResult& result, int removed) {
  return {.removed = removed,
          .metric = result.value,
          .evaluation_loss = result.loss,
          .low = result.low,
          .high = result.high};
}

/// One sweep: the file's contents, and which groups of the graph are wanted.
class Measurement {
 public:
  Measurement(const Graph& graph, const Task& task, BatchSource& source, const std::filesystem::path& file,
              const SensitivityOptions& options)
      : graph_(graph),
        file_(file),
        options_(options),
        ratios_(checked_ratios(options.ratios)),
        groups_(groups_to_measure(graph, options)),
        sweep_(graph, task, source, options.memory) {
    ESPALIER_CHECK(find_criterion(options.criterion).score || options.scores, "sensitivity: criterion ",
                   options.criterion, " needs pictures to score channels by, and none were given");
    result_ = {.metric_name = task.metric_name(),
               .stop_loss = options.stop_loss,
               .criterion = options.criterion,
               .data = source.hash(),
               .model = graph.hash(),
               .note = options.note};
  }

  Sensitivity run() {
    if (std::filesystem::exists(file_)) take_over(load_sensitivity(file_));
    add_what_is_missing();
    const int64_t total = static_cast<int64_t>(groups_.size() * ratios_.size());
    done_ = total;
    for (const ChannelGroup& group : groups_) done_ -= missing(group);
    if (done_ > 0)
      spdlog::info("sensitivity: {}: {} of {} points are there already", file_.string(), done_, total);
    try {
      if (done_ < total) measure_all(total);
    } catch (const Interrupted&) {
      throw Interrupted(str("sensitivity: interrupted; ", done_, " of ", total, " points are in ",
                            file_.string(), ", the same command continues"));
    }
    return result_;
  }

 private:
  /// Continues from an earlier file. Throws Error if it measured something else.
  void take_over(Sensitivity old) {
    const std::string start = file_.string() + ": holds sensitivities ";
    const char* advice = "; name another file, or remove this one to measure anew";
    ESPALIER_CHECK(old.model == result_.model, start, "of another model (or of other weights)", advice);
    ESPALIER_CHECK(old.data == result_.data, start, "measured on another data set or with other transforms",
                   advice);
    ESPALIER_CHECK(old.metric_name == result_.metric_name, start, "in ", old.metric_name, ", not ",
                   result_.metric_name, advice);
    ESPALIER_CHECK(old.criterion == result_.criterion, start, "by criterion ", old.criterion, ", not ",
                   result_.criterion, advice);
    check_same_groups(old, graph_, file_.string());
    if (!result_.note.empty()) old.note = result_.note;
    old.stop_loss = result_.stop_loss;
    result_ = std::move(old);
  }

  /// Groups in the order of the network, ratios ascending.
  void add_what_is_missing() {
    std::vector<GroupSensitivity> ordered;
    for (const ChannelGroup& group : channel_groups(graph_)) {
      const bool wanted = std::any_of(groups_.begin(), groups_.end(),
                                      [&](const ChannelGroup& g) { return g.name == group.name; });
      if (const GroupSensitivity* old = result_.find(group.name))
        ordered.push_back(*old);
      else if (wanted)
        ordered.push_back(describe(graph_, group));
    }
    result_.groups = std::move(ordered);
    result_.ratios.insert(result_.ratios.end(), ratios_.begin(), ratios_.end());
    result_.ratios = checked_ratios(result_.ratios);
  }

  GroupSensitivity& entry(const std::string& name) {
    return *std::find_if(result_.groups.begin(), result_.groups.end(),
                         [&](const GroupSensitivity& g) { return g.name == name; });
  }

  int missing(const ChannelGroup& group) {
    const GroupSensitivity& curve = entry(group.name);
    return static_cast<int>(
        std::count_if(ratios_.begin(), ratios_.end(), [&](double ratio) { return wanted(curve, ratio); }));
  }

  void measure_all(int64_t total) {
    Progress progress("sensitivity", total);
    progress_ = &progress;
    if (result_.samples == 0) measure_baseline();
    if (!find_criterion(options_.criterion).score) take_orders();
    std::vector<Open> open;
    for (const ChannelGroup& group : groups_) {
      open.push_back({group, entry(group.name), work_of(group), missing(group), {}});
      work_total_ += open.back().work * open.back().left;
    }
    start_ = std::chrono::steady_clock::now();
    std::vector<Sweep::Curve> curves;
    for (Open& curve : open) curves.push_back(begin(curve));
    sweep_.measure(std::move(curves));
  }

  /// Of one point: what follows the cut, in multiply-accumulates, and something for the rest.
  double work_of(const ChannelGroup& group) const {
    double work = 1;
    for (size_t i = sweep_.cut(group); i < graph_.items.size(); ++i)
      work += static_cast<double>(item_macs(graph_, graph_.items[i]));
    return work;
  }

  void measure_baseline() {
    const MetricResult result = sweep_.baseline();
    ESPALIER_CHECK(std::isfinite(result.value), "sensitivity: the model's ", result.name, " is ",
                   result.value, "; its weights are broken");
    ESPALIER_CHECK(result.value > 0, "sensitivity: the model's ", result.name,
                   " is 0 with nothing removed, so no loss can be stated relative to it; train it first, or "
                   "check that labels and model belong together");
    ESPALIER_CHECK(std::isfinite(result.loss), "sensitivity: the model's loss is ", result.loss,
                   " with nothing removed; its weights are broken");
    result_.baseline = result.value;
    result_.baseline_loss = result.loss;
    result_.samples = result.samples;
    result_.baseline_low = result.low;
    result_.baseline_high = result.high;
    spdlog::info("sensitivity: {} {:.2f} % with nothing removed, {} images", result.name, 100 * result.value,
                 result.samples);
    save_sensitivity(file_, result_);
  }

  /// Of the groups whose order is not known yet.
  void take_orders() {
    const auto ordered = [&](const ChannelGroup& group) { return !entry(group.name).order.empty(); };
    if (std::all_of(groups_.begin(), groups_.end(), ordered)) return;
    const ChannelScores scores = options_.scores();
    for (const ChannelGroup& group : groups_)
      if (!ordered(group))
        entry(group.name).order = removal_order(scores.at(group.name), group.name, options_.criterion);
    save_sensitivity(file_, result_);
  }

  /// A curve that is being measured.
  struct Open {
    const ChannelGroup& group;
    GroupSensitivity& curve;
    double work;  ///< of one point
    int left;     ///< points
    /// By the number of channels removed: ratios that round to the same count are measured once.
    std::map<int, SensitivityPoint> known;
  };

  /// Records what needs no measuring; what does is left to the sweep.
  Sweep::Curve begin(Open& open) {
    const GroupSensitivity& curve = open.curve;
    open.known[0] = {.metric = result_.baseline,
                     .evaluation_loss = result_.baseline_loss,
                     .low = result_.baseline_low,
                     .high = result_.baseline_high};
    for (const SensitivityPoint& p : curve.points) open.known[p.removed] = p;
    record_known(open);
    const std::vector<int> order =
        curve.order.empty() ? removal_order(graph_, open.group, options_.criterion) : curve.order;
    std::vector<std::vector<int>> removals;
    for (const double ratio : ratios_) {
      const int count = removed_count(open.group.channels, ratio);
      if (wanted(curve, ratio) && (removals.empty() || static_cast<int>(removals.back().size()) != count))
        removals.emplace_back(order.begin(), order.begin() + count);
    }
    return {&open.group, removals, [this, &open, removals](size_t i, const MetricResult& result) {
              const auto count = static_cast<int>(removals[i].size());
              ESPALIER_CHECK(std::isfinite(result.value) && std::isfinite(result.loss),
                             "sensitivity: ", result.name, " is ", result.value, " with loss ", result.loss,
                             " after removing ", count, " channels of ", open.group.name);
              open.known[count] = point_of(result, count);
              record_known(open);
              return open.left > 0;
            }};
  }

  bool wanted(const GroupSensitivity& curve, double ratio) const {
    return !point_at(curve, ratio) && !ended_before(curve, ratio, options_.stop_loss);
  }

  void record_known(Open& open) {
    for (const double ratio : ratios_) {
      const auto at = open.known.find(removed_count(open.group.channels, ratio));
      if (at != open.known.end() && wanted(open.curve, ratio)) record(open, ratio, at->second);
    }
    if (missing(open.group) > 0) return;
    // What the curve ended before is done too.
    done_ += open.left;
    work_done_ += open.left * open.work;
    open.left = 0;
  }

  /// Adds a point; its loss follows from its metric.
  void record(Open& open, double ratio, SensitivityPoint point) {
    point.ratio = ratio;
    point.loss = (result_.baseline - point.metric) / result_.baseline;
    insert(open.curve, point);
    save_sensitivity(file_, result_);
    ++done_;
    --open.left;
    work_done_ += open.work;
    using Seconds = std::chrono::duration<double>;
    const double elapsed = Seconds(std::chrono::steady_clock::now() - start_).count();
    progress_->update(done_,
                      str(open.curve.name, " ", std::lround(100 * ratio), " %: ", result_.metric_name, " ",
                          std::lround(1000 * point.metric) / 10.0, " %, ",
                          Progress::duration(elapsed / work_done_ * (work_total_ - work_done_)), " left"));
  }

  const Graph& graph_;
  const std::filesystem::path file_;
  const SensitivityOptions& options_;
  const std::vector<double> ratios_;
  std::vector<ChannelGroup> groups_;
  Sweep sweep_;
  Sensitivity result_;
  int64_t done_ = 0;                       ///< points
  double work_done_ = 0, work_total_ = 0;  ///< of this run
  std::chrono::steady_clock::time_point start_;
  Progress* progress_ = nullptr;
};

}  // namespace

const GroupSensitivity* Sensitivity::find(const std::string& group) const {
  for (const GroupSensitivity& g : groups)
    if (g.name == group) return &g;
  return nullptr;
}

bool Sensitivity::complete() const {
  return !groups.empty() && std::all_of(groups.begin(), groups.end(), [&](const GroupSensitivity& g) {
    return std::all_of(ratios.begin(), ratios.end(),
                       [&](double r) { return point_at(g, r) || ended_before(g, r, stop_loss); });
  });
}

std::vector<ChannelGroup> groups_to_measure(const Graph& graph, const SensitivityOptions& options) {
  checked_ratios(options.ratios);
  ESPALIER_CHECK(options.stop_loss >= 0 && options.stop_loss <= 1, "sensitivity: stop_loss ",
                 options.stop_loss, " is no share of the metric; give 0 .. 1, where 1 measures every ratio");
  const std::vector<ChannelGroup> groups = channel_groups(graph);
  ESPALIER_CHECK(!groups.empty(), "sensitivity: the model has no channels that could be removed");
  const std::vector<bool> wanted = filter_groups(graph, groups, options.groups);
  std::vector<ChannelGroup> chosen;
  for (size_t g = 0; g < groups.size(); ++g)
    if (wanted[g]) chosen.push_back(groups[g]);
  ESPALIER_CHECK(!chosen.empty(), "sensitivity: include and exclude leave no group to measure");
  return chosen;
}

Sensitivity measure_sensitivity(const Graph& graph, const Task& task, BatchSource& source,
                                const std::filesystem::path& file, const SensitivityOptions& options) {
  return Measurement(graph, task, source, file, options).run();
}

}  // namespace espalier
