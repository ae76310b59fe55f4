// What the stages that compress share, and the sweep.

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include "base/error.h"
#include "compress/sensitivity.h"
#include "recipe/open_model.h"
#include "recipe/stages.h"

namespace espalier {

GroupFilter group_filter(const Json& options, const Model& model) {
  GroupFilter filter{.include = patterns_of(options, "include"), .exclude = patterns_of(options, "exclude")};
  if (options.at("groups") == "all") return filter;
  const GroupPatterns& preset = find_model(model.architecture.at("name")).reference_groups;
  ESPALIER_CHECK(filter.include.empty() || preset.include.empty(),
                 "groups: reference is a list of layers, and so is include; give one of them");
  filter.include.insert(filter.include.end(), preset.include.begin(), preset.include.end());
  filter.exclude.insert(filter.exclude.end(), preset.exclude.begin(), preset.exclude.end());
  return filter;
}

std::vector<std::string> patterns_of(const Json& options, const char* key) {
  if (options.at(key).is_null()) return {};
  return options.at(key).get<std::vector<std::string>>();
}

Model load_float_model(const std::filesystem::path& file, const std::string& kind) {
  Model model = open_model(file);
  for (const Graph::Value& value : model.graph.values)
    ESPALIER_CHECK(!value.param.defined() || value.param.dtype() == DType::kF32, file.string(),
                   ": is an INT8 model, and ", kind, " needs the FP32 one that it was made from");
  return model;
}

SensitivityOptions sensitivity_options(const Json& options, const Model& model) {
  const Json& memory = options.at("memory");
  return {.ratios = options.at("ratios").get<std::vector<double>>(),
          .criterion = options.at("criterion"),
          .stop_loss = options.at("stop_loss"),
          .groups = group_filter(options, model),
          .memory = memory.is_string() ? parse_bytes(memory.get<std::string>()) : memory.get<int64_t>()};
}

namespace {

/// By the stage's criterion, on training pictures as they are evaluated.
ChannelScores scores_on_pictures(const StageJob& job, const Model& model, const Task& task) {
  const int64_t images = job.stage.options.at("criterion_images");
  const CriterionEntry& criterion = find_criterion(job.stage.options.at("criterion"));
  const auto source =
      job.bench.evaluation_batches("train", model.preprocessing, job.bench.recipe().data.batch, images);
  spdlog::info("criterion {}: looks at {} images", criterion.name, source->samples());
  return criterion.on_pictures(model.graph.to(job.bench.device()), task, *source, source->batches());
}

}  // namespace

Json sensitivity_stage(const StageJob& job) {
  const Model model = load_float_model(job.model_in, job.stage.kind);
  job.bench.check_model(model, job.model_in.string());
  const Json& options = job.stage.options;
  const auto source =
      job.bench.evaluation_batches(options.at("list"), model.preprocessing, job.bench.recipe().data.batch,
                                   options.at("images").is_null() ? -1 : options.at("images").get<int64_t>());
  const auto task = job.bench.task_of(model);
  SensitivityOptions sweep = sensitivity_options(options, model);
  sweep.scores = [&] { return scores_on_pictures(job, model, *task); };
  sweep.note =
      job.bench.recipe().data.spec.root.filename().string() + "/" + options.at("list").get<std::string>();
  const Sensitivity measured =
      measure_sensitivity(model.graph.to(job.bench.device()), *task, *source, job.sensitivity, sweep);
  spdlog::info("sensitivities:\n{}", sensitivity_table(measured));
  return {{"baseline", measured.baseline},
          {"groups", measured.groups.size()},
          {"samples", measured.samples},
          {"summary", fmt::format("{} groups at {} ratios on {} images", measured.groups.size(),
                                  measured.ratios.size(), measured.samples)}};
}

StageFunction find_stage_function(const std::string& kind) {
  if (kind == "train") return train_stage;
  if (kind == "sensitivity") return sensitivity_stage;
  if (kind == "prune") return prune_stage;
  if (kind == "int8") return int8_stage;
  if (kind == "export") return export_stage;
  if (kind == "evaluate") return evaluate_stage;
  return nullptr;
}

}  // namespace espalier
