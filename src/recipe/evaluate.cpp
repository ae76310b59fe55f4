// Measuring a model as it will run: through a Session, FP32 and INT8 alike.

#include <spdlog/fmt/fmt.h>

#include "base/version.h"
#include "recipe/run_folder.h"
#include "recipe/stages.h"
#include "tasks/evaluate.h"

namespace espalier {

Json to_json(const MetricResult& result) {
  Json json = {{"name", result.name}, {"value", result.value},     {"low", result.low},
               {"high", result.high}, {"samples", result.samples}, {"loss", result.loss}};
  if (!result.details) return json;
  // Single numbers, such as top-5, stand beside the metric; lists stay apart.
  for (const auto& [key, value] : result.details->items())
    (value.is_number() ? json : json["details"])[key] = value;
  return json;
}

std::string details_text(const Json& measured, const std::vector<std::string>& labels) {
  if (!measured.contains("details") || !measured.at("details").contains("per_class")) return "";
  const Json& details = measured.at("details");
  std::string text = fmt::format("{:<28} {:>6} {:>6}  {}\n", "class", "%", "images", "most often taken for");
  for (size_t k = 0; k < labels.size(); ++k) {
    const Json &share = details.at("per_class").at(k), &row = details.at("confusion").at(k);
    size_t rival = k;
    for (size_t other = 0; other < row.size(); ++other)
      if (other != k && row[other] > 0 && (rival == k || row[other] > row[rival])) rival = other;
    text += fmt::format("{:<28} {:>6} {:>6}  {}\n", labels[k],
                        share.is_null() ? "-" : fmt::format("{:.1f}", 100 * share.get<double>()),
                        details.at("counts").at(k).get<int64_t>(),
                        rival == k ? "" : fmt::format("{} ({})", labels[rival], row[rival].get<int64_t>()));
  }
  return text;
}

Json evaluate_model(Workbench& bench, const Model& model, const std::string& list) {
  Session session(model.graph.to(bench.device()));
  const auto source = bench.evaluation_batches(list, model.preprocessing, bench.recipe().data.batch);
  const auto task = make_task(model.task, static_cast<int>(model.labels.size()), Json::object());
  return to_json(evaluate(session, *task, *source));
}

std::string metric_text(const std::string& metric, const Json& measured) {
  return fmt::format("{} {:.1f} % ({:.1f}-{:.1f}) on {} images", metric,
                     100 * measured.at("value").get<double>(), 100 * measured.at("low").get<double>(),
                     100 * measured.at("high").get<double>(), measured.at("samples").get<int64_t>());
}

void add_lineage(Model& model, const StageJob& job, Json extra) {
  Json entry = {{"stage", job.stage.kind},
                {"name", job.stage.name},
                {"seed", job.bench.recipe().seed},
                {"version", kVersion}};
  if (!job.model_in.empty()) entry["parent"] = file_hash(job.model_in);
  entry.update(extra);
  if (!model.lineage.is_array()) model.lineage = Json::array();
  model.lineage.push_back(std::move(entry));
}

Json evaluate_stage(const StageJob& job) {
  Model model;
  if (job.model_in.empty()) {
    model = new_model(job.bench);
    model.preprocessing = job.bench.recipe().data.eval_transforms;
  } else {
    model = load_model(job.model_in);
    job.bench.check_model(model, job.model_in.string());
  }
  save_model(job.model_out, model);
  return Json::object();
}

}  // namespace espalier
