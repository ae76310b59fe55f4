// Points of a curve once more, on more images.

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "compress/sensitivity.h"
#include "compress/sweep.h"

namespace espalier {

namespace {

SensitivityPoint* find_point(Sensitivity& s, const PointName& name) {
  for (GroupSensitivity& group : s.groups)
    for (SensitivityPoint& point : group.points)
      if (group.name == name.group && std::abs(point.ratio - name.ratio) < 1e-9) return &point;
  return nullptr;
}

class Refinement {
 public:
  Refinement(const Graph& graph, const Task& task, BatchSource& more, const std::filesystem::path& file,
             Sensitivity& sensitivity, int64_t memory)
      : graph_(graph),
        file_(file),
        s_(sensitivity),
        known_(sensitivity),
        source_(more),
        sweep_(graph, task, more, memory) {}

  int64_t run(std::vector<PointName> points) {
    if (std::filesystem::exists(file_)) take_over(load_sensitivity(file_));
    // Only what is asked for: a decision must not depend on what an interrupted one had asked for later.
    int64_t done = 0;
    std::erase_if(points, [&](const PointName& name) {
      SensitivityPoint* point = find_point(s_, name);
      ESPALIER_CHECK(point, "sensitivity: there is no point of ", name.group, " at ", name.ratio,
                     " to be measured again");
      const SensitivityPoint& known = *find_point(known_, name);
      if (known_.refined.samples == 0 || known.samples != known_.refined.samples) return false;
      done += point->samples != known.samples;
      *point = known;
      return true;
    });
    s_.refined = known_.refined;
    if (points.empty()) return done;
    Progress progress("sensitivity", done + static_cast<int64_t>(points.size()));
    if (s_.refined.samples == 0) measure_baseline();
    const std::vector<ChannelGroup> groups = channel_groups(graph_);
    std::vector<Sweep::Curve> curves;
    for (const ChannelGroup& group : groups) {
      std::vector<double> ratios;
      for (const PointName& name : points)
        if (name.group == group.name) ratios.push_back(name.ratio);
      if (ratios.empty()) continue;
      const GroupSensitivity& curve = *s_.find(group.name);
      const std::vector<int> order =
          curve.order.empty() ? removal_order(graph_, group, s_.criterion) : curve.order;
      std::vector<std::vector<int>> removals;
      for (const double ratio : ratios)
        removals.emplace_back(order.begin(), order.begin() + removed_count(group.channels, ratio));
      curves.push_back({&group, removals, [&, ratios](size_t i, const MetricResult& result) {
                          const PointName name{group.name, ratios[i]};
                          record(*find_point(known_, name), result);
                          *find_point(s_, name) = *find_point(known_, name);
                          progress.update(++done, str(group.name, " ", std::lround(100 * ratios[i]),
                                                      " %, on ", s_.refined.samples, " images"));
                          return true;
                        }});
    }
    sweep_.measure(std::move(curves));
    return done;
  }

 private:
  /// What was measured again before, perhaps by a run that was killed.
  void take_over(const Sensitivity& old) {
    if (old.model == s_.model && old.data == s_.data && old.criterion == s_.criterion &&
        old.refined.data == source_.hash())
      known_ = old;
  }

  void measure_baseline() {
    const MetricResult result = sweep_.baseline();
    ESPALIER_CHECK(result.value > 0 && std::isfinite(result.loss), "sensitivity: the model's ", result.name,
                   " is ", result.value, " on ", result.samples,
                   " images with nothing removed; its weights are broken or these are other data");
    s_.refined = known_.refined = {result.value, result.loss, result.samples, source_.hash()};
    save_sensitivity(file_, known_);
  }

  void record(SensitivityPoint& point, const MetricResult& result) {
    ESPALIER_CHECK(std::isfinite(result.value) && std::isfinite(result.loss), "sensitivity: ", result.name,
                   " is ", result.value, " with loss ", result.loss, " after removing ", point.removed,
                   " channels");
    point.metric = result.value;
    point.loss = (s_.refined.baseline - result.value) / s_.refined.baseline;
    point.evaluation_loss = result.loss - s_.refined.baseline_loss + s_.baseline_loss;
    point.low = result.low;
    point.high = result.high;
    point.samples = result.samples;
    save_sensitivity(file_, known_);
  }

  const Graph& graph_;
  const std::filesystem::path file_;
  Sensitivity& s_;     ///< the caller's
  Sensitivity known_;  ///< the file's: more points, perhaps
  BatchSource& source_;
  Sweep sweep_;
};

}  // namespace

int64_t refine_sensitivity(const Graph& graph, const Task& task, BatchSource& more,
                           const std::filesystem::path& file, const std::vector<PointName>& points,
                           Sensitivity& sensitivity, int64_t memory) {
  try {
    return Refinement(graph, task, more, file, sensitivity, memory).run(points);
  } catch (const Interrupted&) {
    throw Interrupted(str("sensitivity: interrupted; what was measured again is in ", file.string(),
                          ", the same command continues"));
  }
}

}  // namespace espalier
