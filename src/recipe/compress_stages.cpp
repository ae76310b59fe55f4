// Sensitivity and pruning.

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "compress/prune.h"
#include "compress/sensitivity.h"
#include "compress/taylor.h"
#include "graph/cost.h"
#include "io/file.h"
#include "recipe/run_folder.h"
#include "recipe/stages.h"

namespace espalier {

namespace {

GroupFilter filter_of(const Json& options, const Model& model) {
  GroupFilter filter{.include = patterns_of(options, "include"), .exclude = patterns_of(options, "exclude")};
  if (options.at("groups") == "all") return filter;
  const GroupPatterns& preset = find_model(model.architecture.at("name")).reference_groups;
  ESPALIER_CHECK(filter.include.empty() || preset.include.empty(),
                 "groups: reference is a list of layers, and so is include; give one of them");
  filter.include.insert(filter.include.end(), preset.include.begin(), preset.include.end());
  filter.exclude.insert(filter.exclude.end(), preset.exclude.begin(), preset.exclude.end());
  return filter;
}

std::optional<double> number_of(const Json& options, const char* key) {
  if (options.at(key).is_null()) return {};
  return options.at(key).get<double>();
}

double percent(int64_t part, int64_t whole) {
  return 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

SelectOptions select_options(const Json& options, const Model& model) {
  return {.tolerance = number_of(options, "tolerance"),
          .keep_macs = number_of(options, "keep_macs"),
          .keep_parameters = number_of(options, "keep_parameters"),
          .keep_bytes = number_of(options, "keep_bytes"),
          .rule = selection_rule_from_name(options.at("rule")),
          .criterion = options.at("criterion").is_null() ? "" : options.at("criterion").get<std::string>(),
          .keep_multiple_of = options.at("keep_multiple_of"),
          .min_channels = options.at("min_channels"),
          .max_ratio = options.at("max_ratio"),
          .groups = filter_of(options, model)};
}

std::vector<std::string> patterns_of(const Json& options, const char* key) {
  if (options.at(key).is_null()) return {};
  return options.at(key).get<std::vector<std::string>>();
}

Model load_float_model(const StageJob& job) {
  Model model = load_model(job.model_in);
  for (const Graph::Value& value : model.graph.values)
    ESPALIER_CHECK(!value.param.defined() || value.param.dtype() == DType::kF32, job.model_in.string(),
                   ": is an INT8 model, and ", job.stage.kind, " needs the FP32 one that it was made from");
  return model;
}

namespace {

/// By criterion taylor, on training pictures as they are evaluated.
ChannelScores scores_on_pictures(const StageJob& job, const Model& model, const Task& task) {
  const int64_t images = job.stage.options.at("criterion_images");
  const auto source =
      job.bench.evaluation_batches("train", model.preprocessing, job.bench.recipe().data.batch, images);
  spdlog::info("criterion taylor: gradients of {} images", source->samples());
  return taylor_scores(model.graph.to(job.bench.device()), task, *source, source->batches());
}

}  // namespace

Json sensitivity_stage(const StageJob& job) {
  const Model model = load_float_model(job);
  job.bench.check_model(model, job.model_in.string());
  const Json& options = job.stage.options;
  const auto source =
      job.bench.evaluation_batches(options.at("list"), model.preprocessing, job.bench.recipe().data.batch,
                                   options.at("images").is_null() ? -1 : options.at("images").get<int64_t>());
  const auto task = job.bench.task_of(model);
  const Json& memory = options.at("memory");
  const Sensitivity measured = measure_sensitivity(
      model.graph.to(job.bench.device()), *task, *source, job.sensitivity,
      {.ratios = options.at("ratios").get<std::vector<double>>(),
       .criterion = options.at("criterion"),
       .scores = [&] { return scores_on_pictures(job, model, *task); },
       .stop_loss = options.at("stop_loss"),
       .groups = filter_of(options, model),
       .memory = memory.is_string() ? parse_bytes(memory.get<std::string>()) : memory.get<int64_t>(),
       .note = job.bench.recipe().data.spec.root.filename().string() + "/" +
               options.at("list").get<std::string>()});
  spdlog::info("sensitivities:\n{}", sensitivity_table(measured));
  return {{"baseline", measured.baseline},
          {"groups", measured.groups.size()},
          {"samples", measured.samples},
          {"summary", fmt::format("{} groups at {} ratios on {} images", measured.groups.size(),
                                  measured.ratios.size(), measured.samples)}};
}

namespace {

/// Measures the norms' statistics anew, and what that does to the metric on val: {"before", "after"}, or null
/// without recalibration.
Json recalibrate(const StageJob& job, Model& model) {
  const int64_t batches = job.stage.options.at("recalibrate");
  if (batches == 0) return nullptr;
  const double before = evaluate_model(job.bench, model, "val").at("value");
  const auto source = job.bench.training_batches(job.bench.recipe().data.batch);
  Graph there = model.graph.to(job.bench.device());
  const int64_t used = recalibrate_batch_norms(there, *source, batches);
  model.graph = there.to(Device::kCpu);
  const double after = evaluate_model(job.bench, model, "val").at("value");
  spdlog::info("{}: val {} {:.1f} % right after the cut, {:.1f} % with the norms' statistics of {} batches",
               job.stage.name, job.bench.metric_name(), 100 * before, 100 * after, used);
  return {{"before", before}, {"after", after}, {"batches", used}};
}

}  // namespace

Json prune_stage(const StageJob& job) {
  Model model = load_float_model(job);
  const Json& options = job.stage.options;
  const Sensitivity sensitivity = load_sensitivity(job.sensitivity);
  const std::string place = job.sensitivity.string();
  // DEFAULT was measured on other weights of the same network; anything else must be of this very model.
  if (options.at("sensitivity") == "DEFAULT")
    check_same_groups(sensitivity, model.graph, place);
  else
    check_same_model(sensitivity, model.graph, place);
  const PruningPlan plan = select_channels(model.graph, sensitivity, select_options(options, model));
  spdlog::info("pruning:\n{}", describe(plan));
  if (plan.after.parameters == plan.before.parameters)
    spdlog::warn("{}: nothing is removed: {}", job.stage.name,
                 plan.tolerance ? "every group loses more than the tolerance with its first step; raise it"
                                : "the network is within the budget as it is");
  model.graph = prune(model.graph, plan);
  const Json recalibration = recalibrate(job, model);
  add_lineage(model, job, {{"sensitivity", file_hash(job.sensitivity)}, {"plan", to_json(plan)}});
  model.metrics = Json::object();  // those of the unpruned network
  save_model(job.model_out, model);
  return {
      {"plan", to_json(plan)},
      {"recalibration", recalibration},
      {"summary",
       fmt::format("MACs {:.1f} M of {:.1f} M ({:.1f} %), parameters {} of {} ({:.1f} %)",
                   static_cast<double>(plan.after.macs) / 1e6, static_cast<double>(plan.before.macs) / 1e6,
                   percent(plan.after.macs, plan.before.macs), plan.after.parameters, plan.before.parameters,
                   percent(plan.after.parameters, plan.before.parameters))}};
}

StageFunction find_stage_function(const std::string& kind) {
  if (kind == "train") return train_stage;
  if (kind == "sensitivity") return sensitivity_stage;
  if (kind == "prune") return prune_stage;
  if (kind == "int8") return int8_stage;
  if (kind == "evaluate") return evaluate_stage;
  return nullptr;
}

}  // namespace espalier
