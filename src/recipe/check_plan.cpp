// A run of hours must not end at its last stage with what was wrong from the start.

#include <map>

#include "base/error.h"
#include "compress/sensitivity.h"
#include "io/onnx.h"
#include "io/weight_import.h"
#include "passes/quantize.h"
#include "recipe/open_model.h"
#include "recipe/stages.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

class PlanCheck {
 public:
  explicit PlanCheck(Workbench& bench)
      : bench_(bench), recipe_(bench.recipe()), has_data_(!recipe_.data.spec.root.empty()) {}

  void run() {
    if (has_data_) bench_.labels();  // what is wrong with the data is no matter of a stage
    for (const StageSpec& stage : recipe_.stages)
      if (stage.kind != "bench") check(stage);
    for (const Bound& bound : recipe_.expect)
      if (bound.quantity.ends_with("_test") && !bench_.has_test())
        recipe_.document.fail_at("expect." + bound.variant + "." + bound.quantity,
                                 "there is no test list; add one or leave the bound out");
  }

 private:
  /// Runs a check whose message is about a key of the recipe.
  template <typename Check>
  void at(const std::string& path, const Check& check) const {
    try {
      check();
    } catch (const Error& e) {
      recipe_.document.fail_at(path, e.what());
    }
  }

  /// Where a stage's key was given: by itself, or for all trainings.
  std::string path_of(const StageSpec& stage, const std::string& key) const {
    const std::string own = stage.path + "." + key, shared = "training." + key;
    const auto& places = recipe_.document.places;
    return stage.kind == "train" && !places.contains(own) && places.contains(shared) ? shared : own;
  }

  std::string batch_path(const StageSpec& stage, const std::string& key, const Json& options) const {
    return options.at("batch").is_null() ? "data.batch" : path_of(stage, key);
  }

  bool is_file(const std::string& from) const { return from != "scratch" && !recipe_.find(from); }

  /// The recipe's network without its weights, but for a look at whether they fit.
  const Model& untrained() {
    if (const auto found = models_.find("scratch"); found != models_.end()) return found->second;
    Model& model = models_["scratch"];
    at("model.classes", [&] { class_count(bench_); });
    at("model", [&] { model = untrained_model(bench_); });
    if (recipe_.weights.empty()) return model;
    Graph graph = model.graph;
    at("model.weights", [&] { import_weights(graph, recipe_.model.name, recipe_.weights); });
    return model;
  }

  /// What a stage reads, or what that is made from: cut and trained, its layers have the same names.
  const Model& model_of(const StageSpec& stage) {
    std::string from = stage.from, path = stage.path + ".from";
    while (const StageSpec* before = recipe_.find(from)) {
      from = before->from;
      path = before->path + ".from";
    }
    if (from == "scratch") return untrained();
    if (!models_.contains(from)) at(path, [&] { models_[from] = open_model(from); });
    return models_.at(from);
  }

  /// Whether the stage reads the network with as many channels as model_of() has.
  bool is_whole(const StageSpec& stage) const {
    for (const StageSpec* before = recipe_.find(stage.from); before; before = recipe_.find(before->from))
      if (before->kind == "prune") return false;
    return true;
  }

  void check(const StageSpec& stage) {
    const Model& model = model_of(stage);
    if (is_file(stage.from)) at(stage.path + ".from", [&] { check_file(stage, model); });
    if (has_data_) at("task", [&] { bench_.task_of(model); });
    if (stage.kind == "train") check_train(stage, model);
    if (stage.kind == "sensitivity") check_sensitivity(stage, model);
    if (stage.kind == "prune") check_prune(stage, model);
    if (stage.kind == "int8") check_int8(stage, model);
    if (stage.kind == "export") at(stage.path, [] { check_onnx_is_built(); });
  }

  void check_file(const StageSpec& stage, const Model& model) {
    if (stage.kind == "train")
      load_trainable(bench_, stage.from);
    else if (stage.kind != "evaluate" && stage.kind != "export")
      load_float_model(stage.from, stage.kind);
    if (has_data_) bench_.check_model(model, stage.from);
  }

  void check_train(const StageSpec& stage, const Model& model) {
    const Json& o = stage.options;
    const Json loss = loss_options(o);
    for (const auto& entry : loss.items())
      at(path_of(stage, entry.key()), [&] { bench_.task_of(model, {{entry.key(), entry.value()}}); });
    int64_t steps = 0;
    at(batch_path(stage, "batch", o), [&] { steps = bench_.training_steps(training_batch(o, recipe_)); });
    at(path_of(stage, "schedule"), [&] { Schedule(train_options(o).schedule, steps, o.at("epochs")); });
    if (!o.contains("distill")) return;
    const std::string teacher = o.at("distill").at("from");
    if (is_file(teacher)) at(stage.path + ".distill.from", [&] { load_teacher(bench_, teacher); });
  }

  /// One kind of patterns after the other, so that the message has its key.
  void check_groups(const StageSpec& stage, const Model& model, const GroupFilter& filter) {
    const std::vector<ChannelGroup> groups = channel_groups(model.graph);
    at(stage.path + ".include", [&] { filter_groups(model.graph, groups, {.include = filter.include}); });
    at(stage.path + ".exclude", [&] { filter_groups(model.graph, groups, {.exclude = filter.exclude}); });
  }

  void check_sensitivity(const StageSpec& stage, const Model& model) {
    SensitivityOptions options;
    at(stage.path, [&] { options = sensitivity_options(stage.options, model); });
    check_groups(stage, model, options.groups);
    at(stage.path + ".ratios", [&] { groups_to_measure(model.graph, {.ratios = options.ratios}); });
    at(stage.path, [&] { groups_to_measure(model.graph, options); });
  }

  void check_prune(const StageSpec& stage, const Model& model) {
    const Json& o = stage.options;
    const std::string curves = o.at("sensitivity");
    if (!recipe_.find(curves)) at(stage.path + ".sensitivity", [&] { check_curves(stage, model, curves); });
    SelectOptions select;
    at(stage.path, [&] { select = select_options(o, model, bench_.device()); });
    check_groups(stage, model, select.groups);
    at(stage.path, [&] { check_options(select); });
    const Json& whole = o.at("share_of");
    if (!whole.is_null() && is_file(whole))
      at(stage.path + ".share_of", [&] { open_model(whole.get<std::string>()); });
    if (o.at("recalibrate") > 0) at("data.batch", [&] { bench_.training_steps(recipe_.data.batch); });
  }

  /// The weights of a network that is still to be trained are not known, its groups are.
  void check_curves(const StageSpec& stage, const Model& model, const std::string& file) {
    const bool shipped = file == "DEFAULT";
    const fs::path path = shipped ? default_sensitivities(model.architecture.at("name")) : fs::path(file);
    const Sensitivity sensitivity = load_sensitivity(path);
    if (is_file(stage.from) && !shipped)
      check_same_model(sensitivity, model.graph, path.string());
    else if (is_whole(stage))
      check_same_groups(sensitivity, model.graph, path.string());
  }

  void check_int8(const StageSpec& stage, const Model& model) {
    at(stage.path + ".keep_fp32",
       [&] { quantizable_items(prepare_for_quantization(model.graph), quantize_options(stage.options)); });
    const Json& finetune = stage.options.at("finetune");
    if (finetune.at("epochs") > 0)
      at(batch_path(stage, "finetune.batch", finetune),
         [&] { bench_.training_steps(training_batch(finetune, recipe_)); });
  }

  Workbench& bench_;
  const Recipe& recipe_;
  const bool has_data_;                  ///< cutting channels needs none
  std::map<std::string, Model> models_;  ///< by file; "scratch": the recipe's
};

}  // namespace

void check_plan(Workbench& bench) { PlanCheck(bench).run(); }

}  // namespace espalier
