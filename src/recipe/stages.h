#pragma once
// The stages of a run: each reads a model file, writes a model file, and measures.

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compress/select.h"
#include "datasets/dataset.h"
#include "io/model_file.h"
#include "passes/quantize.h"
#include "recipe/recipe.h"
#include "tasks/task.h"
#include "train/loop.h"

namespace espalier {

/// What the stages of a run share: the data set's lists, read once, and the device.
class Workbench {
 public:
  /// Takes the device and the threads that the recipe asks for. Throws Error for cuda without a GPU.
  explicit Workbench(const Recipe& recipe);
  ~Workbench();

  const Recipe& recipe() const { return recipe_; }
  Device device() const { return device_; }
  std::string device_name() const { return name(device_); }
  const std::string& processor() const { return processor_; }  ///< "AMD EPYC 9B14"
  int threads() const;
  Json machine() const;  ///< {"threads", "device", "processor"}: what times depend on

  const Task& task() const { return *task_; }
  std::string metric_name() const { return task_->metric_name(); }

  /// The task of a model: what its file says, then what the recipe says, then `extra`.
  std::unique_ptr<Task> task_of(const Model& model, const Json& extra = {}) const;
  /// The first two of these.
  Json task_options(const Model& model) const;

  /// Draws the pictures of data.make when the root does not exist.
  void make_data();
  /// One line: how many pictures of how many classes.
  std::string data_text();
  /// Of pictures still to be drawn too.
  const std::vector<std::string>& labels();
  /// Of pictures still to be drawn too.
  bool has_test() const;

  /// Shuffled and augmented. Throws Error listing every unreadable picture unless the recipe says skip.
  std::unique_ptr<BatchSource> training_batches(int batch);
  /// How many batches an epoch of these has, of pictures still to be drawn too. Throws Error as they would
  /// for none.
  int64_t training_steps(int batch);
  /// In order, by the given evaluation transforms (a model brings its own). At most `max_images`, a
  /// reproducible choice; -1: all.
  std::unique_ptr<BatchSource> evaluation_batches(const std::string& list, const Json& transforms, int batch,
                                                  int64_t max_images = -1);
  /// A hash of a list's lines and of the transforms that it goes through.
  std::string data_hash(const std::string& list);

  /// Throws Error when a model's labels are not the data set's, or its task another.
  void check_model(const Model& model, const std::string& file);

 private:
  void check_format() const;
  const Dataset& dataset(Split split, bool checked);
  /// Whether there is one to compare other lists with. Its faults stop who trains; anybody else is warned,
  /// since pictures to measure on may have been copied without those that were trained on.
  bool has_training_list();
  void warn_of_shared_pictures(const Dataset& data);
  bool to_draw() const;

  const Recipe& recipe_;
  Device device_ = Device::kCpu;
  std::string processor_;
  std::unique_ptr<Task> task_;
  std::map<std::pair<Split, bool>, Dataset> datasets_;
  std::optional<bool> has_training_list_;  ///< once it is known
  std::vector<std::string> drawn_labels_;  ///< of pictures still to be drawn
};

/// One stage at work.
struct StageJob {
  Workbench& bench;
  const StageSpec& stage;
  std::filesystem::path folder;       ///< where it works and writes
  std::filesystem::path model_in;     ///< empty for "scratch"
  std::filesystem::path sensitivity;  ///< of prune: a file
  std::filesystem::path whole;        ///< of prune: the model that shares are of; empty: model_in
  std::filesystem::path teacher;      ///< of train: a model file; empty without distillation
  std::filesystem::path model_out;    ///< for stages that write one
  std::filesystem::path selection;    ///< of prune: where it writes what it decided
  std::filesystem::path latencies;    ///< of prune: the table of layers' times, shared by all stages of a run
};

/// What a stage measured on its way; goes into its record.
using StageFunction = Json (*)(const StageJob&);

Json train_stage(const StageJob& job);
Json sensitivity_stage(const StageJob& job);  ///< writes folder/sensitivity.json
/// Writes what it decided into job.selection: to_json(PruningPlan) with {"format": "espalier-selection",
/// "version": 1, "metric_before_recalibration", "metric_after_recalibration" (null without)}.
Json prune_stage(const StageJob& job);
Json int8_stage(const StageJob& job);
Json export_stage(const StageJob& job);    ///< writes folder/model.onnx
Json evaluate_stage(const StageJob& job);  ///< takes a model as it is: a row of the table
/// The model of `file` as `out`, by the keys of an export stage: what went in, see StageFunction.
Json export_model(const std::filesystem::path& file, const std::filesystem::path& out, const Json& options);
/// nullptr for kinds that are not run alone.
StageFunction find_stage_function(const std::string& kind);

/// What a train stage's checked keys mean to the loop. Throws Error for what does not fit together.
TrainOptions train_options(const Json& options);

/// What a train stage says about the loss.
Json loss_options(const Json& options);
/// The `batch` of a section that trains; data.batch by default.
int training_batch(const Json& options, const Recipe& recipe);

/// The recipe's network for the data's classes, with model.weights where it names them.
Model new_model(Workbench& bench);
/// The same without weights.
Model untrained_model(Workbench& bench);
/// How many classes it tells apart. Throws Error, about model.classes, where the data have others.
int class_count(Workbench& bench);
/// A model to train on. Throws Error for one of other classes, of another size, or in INT8.
Model load_trainable(Workbench& bench, const std::filesystem::path& file);
/// A teacher sees what the student sees. Throws Error for one that is not made for that.
Model load_teacher(Workbench& bench, const std::filesystem::path& file);
/// Side of the pictures that it was made for.
int input_size(const Model& model);
/// The entry of a pipeline that scales pixels, or null.
Json normalization(const Json& transforms);

/// Tries what can be tried before the first stage begins, on the network as it will be made: files, patterns,
/// class weights, batches, schedules. Throws Error at the first that would be refused later, with its place.
void check_plan(Workbench& bench);

/// What a prune stage's checked keys mean to the selection of channels on a device. Throws Error for what
/// does not fit.
SelectOptions select_options(const Json& options, const Model& model, Device device);
/// What `keep_multiple_of` is there.
int channel_multiple(const Json& options, Device device);

/// The model of a kind of stage that needs FP32. Throws Error for an INT8 one.
Model load_float_model(const std::filesystem::path& file, const std::string& kind);

/// What a sensitivity stage's keys mean to the sweep, but for the scores of criteria that need pictures.
SensitivityOptions sensitivity_options(const Json& options, const Model& model);

/// What an int8 stage's keys mean to the choice of layers.
QuantizeOptions quantize_options(const Json& options);

/// Whether a prune stage's budget is counted in milliseconds.
bool has_latency_budget(const Json& options);

/// Which groups a stage's keys groups, include and exclude mean.
GroupFilter group_filter(const Json& options, const Model& model);

/// The patterns of a key that may be null: then none.
std::vector<std::string> patterns_of(const Json& options, const char* key);

/// The metric of a model as it will run, on a list; {"value", "low", "high", "samples", "loss", ...}.
Json evaluate_model(Workbench& bench, const Model& model, const std::string& list);

/// What was measured per class, and what each is most often taken for, for people; empty when the task has
/// none.
std::string details_text(const Json& measured, const std::vector<std::string>& labels);
Json to_json(const MetricResult& result);

/// Appends what this job does to the model's history.
void add_lineage(Model& model, const StageJob& job, const Json& extra = Json::object());

/// The one-line form of evaluate_model() for people: "top1 91.2 % (88.0-94.1) on 240 images".
std::string metric_text(const std::string& metric, const Json& measured);

}  // namespace espalier
