#pragma once
// How much the metric suffers when one group of tied channels loses a share of them: measured, kept in a text
// file, read again for pruning.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "compress/criterion.h"
#include "compress/group_filter.h"
#include "tasks/task.h"

namespace espalier {

/// One measured point of a curve.
struct SensitivityPoint {
  double ratio = 0;
  int removed = 0;  ///< removed_count(channels, ratio)
  double metric = 0;
  double loss = 0;             ///< (baseline - metric) / baseline, as measured: noise can make it negative
  double evaluation_loss = 0;  ///< the task's mean loss, which still grows where the metric is saturated
  double low = 0, high = 1;    ///< 95 % interval of the metric
  int64_t samples = 0;         ///< images it was measured on; 0: as many as the file says
};

/// The curve of one group.
struct GroupSensitivity {
  struct Member {
    std::string parameter;  ///< "block2/project/w"
    int axis = 0;
    std::string role;  ///< why it belongs to the group: "makes it", "depthwise", "per channel", "reads it"
  };
  std::string name;  ///< of the group, "block2/project"
  int channels = 0;
  std::vector<Member> members;
  std::vector<int> order;                ///< of removal, where the criterion needs pictures; else empty
  std::vector<SensitivityPoint> points;  ///< by rising ratio
};

/// What a sensitivity file holds: the curves, and on what they were measured.
struct Sensitivity {
  std::string metric_name;                     ///< "top1"
  double baseline = 0;                         ///< the metric with nothing removed
  double baseline_loss = 0;                    ///< the task's mean loss with nothing removed
  double baseline_low = 0, baseline_high = 1;  ///< 95 % interval of the baseline
  int64_t samples = 0;                         ///< images the metric was measured on
  double stop_loss = 1;                        ///< a curve ends with its first point whose loss is larger
  std::string criterion;
  std::vector<double> ratios;  ///< every ratio that was asked for
  uint64_t data = 0;           ///< BatchSource::hash()
  uint64_t model = 0;          ///< Graph::hash()
  std::string note;            ///< for people: what it was computed on
  /// The baseline on more images, where points were measured again; samples is 0 where none was. The loss of
  /// such a point is relative to this baseline, and its evaluation loss is moved by the difference of the two
  /// baselines.
  struct Refined {
    double baseline = 0, baseline_loss = 0;
    int64_t samples = 0;
    uint64_t data = 0;
  } refined;
  std::vector<GroupSensitivity> groups;  ///< in order of the network

  const GroupSensitivity* find(const std::string& group) const;  ///< nullptr if there is none
  bool complete() const;  ///< every group has a point at every ratio, or its curve has ended before it
};

struct SensitivityOptions {
  std::vector<double> ratios = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9};
  std::string criterion = "l1";
  /// Scores by a criterion that needs pictures; called once, unless the file has all orders.
  std::function<ChannelScores()> scores;
  /// A curve ends with its first point whose loss is larger: no plan wants to go there, and the early groups,
  /// which break first, are the dearest to measure.
  double stop_loss = 0.5;
  GroupFilter groups;  ///< which ones to measure
  /// Bytes of activations kept between the groups, besides weights and one run's own memory. What is left is
  /// for curves measured at the same time. With less than the evaluation set needs, the start of the network
  /// is computed several times; results are the same.
  int64_t memory = int64_t{1} << 30;
  std::string note;  ///< goes into the file
};

/// The groups that a sweep with these options measures. Throws Error for options out of range, patterns that
/// match nothing, and where no group is left.
std::vector<ChannelGroup> groups_to_measure(const Graph& graph, const SensitivityOptions& options);

/// Measures the curve of every group with physically smaller graphs in Sessions. What stands before a group
/// in the network is computed once per batch, not once per ratio and group. `file` is written atomically
/// after every point; when it exists with the same model, data and criterion, measuring continues
/// where it stopped (and says so), and ratios or groups that it lacks are added. Deterministic. Throws Error
/// for a file of another model, data set or criterion, a baseline of zero, a metric that is not finite;
/// Interrupted, with all finished points saved, after Ctrl-C.
Sensitivity measure_sensitivity(const Graph& graph, const Task& task, BatchSource& source,
                                const std::filesystem::path& file, const SensitivityOptions& options = {});

/// A point of a curve.
struct PointName {
  std::string group;
  double ratio;
  auto operator<=>(const PointName&) const = default;
};

/// Measures points of `sensitivity` again on `more` images than before, as measure_sensitivity() would; those
/// that were are left out. `file` is written after every point, and what it holds of the same model,
/// criterion and images is taken from it first. Returns how many are new in `sensitivity`. Throws as
/// measure_sensitivity().
int64_t refine_sensitivity(const Graph& graph, const Task& task, BatchSource& more,
                           const std::filesystem::path& file, const std::vector<PointName>& points,
                           Sensitivity& sensitivity, int64_t memory = int64_t{1} << 30);

Json to_json(const Sensitivity& sensitivity);
/// Strict: version, types, values in range. `place` starts the messages.
Sensitivity sensitivity_from_json(const Json& json, const std::string& place);
/// Throws Error naming file and fault.
Sensitivity load_sensitivity(const std::filesystem::path& file);
void save_sensitivity(const std::filesystem::path& file, const Sensitivity& sensitivity);

/// Throws Error unless the file was measured on exactly this model, weights included. `place` is the file.
void check_same_model(const Sensitivity& sensitivity, const Graph& graph, const std::string& place);
/// Throws Error unless every group of the file exists in the graph with as many channels: what a DEFAULT file
/// must satisfy.
void check_same_groups(const Sensitivity& sensitivity, const Graph& graph, const std::string& place);

/// The shipped file for a model of models/model_table.h: sensitivities/NAME.json of shipped_recipes(). Throws
/// Error naming the shipped ones when there is none.
std::filesystem::path default_sensitivities(const std::string& model_name);

/// The curves for people: one line a group, one column a ratio, losses in percent.
std::string sensitivity_table(const Sensitivity& sensitivity);
/// One line a point: group,channels,ratio,removed,metric,low,high,images,loss,evaluation_loss.
std::string sensitivity_csv(const Sensitivity& sensitivity);

}  // namespace espalier
