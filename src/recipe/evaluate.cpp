// Measuring a model as it will run: through a Session, FP32 and INT8 alike.

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "base/version.h"
#include "recipe/open_model.h"
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

namespace {

/// What a class is most often taken for, from its row of the confusion matrix: "carrot (12)".
std::string rival_text(const Json& row, size_t k, const std::vector<std::string>& labels) {
  size_t rival = k;
  for (size_t other = 0; other < row.size(); ++other)
    if (other != k && row[other] > 0 && (rival == k || row[other] > row[rival])) rival = other;
  return rival == k ? "" : fmt::format("{} ({})", labels[rival], row[rival].get<int64_t>());
}

/// What is measured beside the metric: "accuracy 97.9 %  kappa 74.0 %".
std::string others_text(const Json& measured) {
  static const std::vector<std::string> known = {"value", "low", "high", "samples", "loss"};
  std::string text;
  for (const auto& [key, value] : measured.items())
    if (value.is_number_float() && std::find(known.begin(), known.end(), key) == known.end())
      text += fmt::format("{}{} {:.1f} %", text.empty() ? "" : "  ", key, 100 * value.get<double>());
  return text.empty() ? text : text + "\n";
}

}  // namespace

std::string details_text(const Json& measured, const std::vector<std::string>& labels) {
  if (!measured.contains("details") || !measured.at("details").contains("per_class")) return "";
  const Json& details = measured.at("details");
  // Every list with a number a class is a column: whole numbers as they are, others in percent.
  std::vector<std::string> columns;
  std::string text = others_text(measured) + fmt::format("{:<28}", "class");
  for (const auto& [key, values] : details.items()) {
    const auto fits = [](const Json& value) { return value.is_number() || value.is_null(); };
    if (values.size() != labels.size() || !std::all_of(values.begin(), values.end(), fits)) continue;
    columns.push_back(key);
    const std::string head = key == "per_class" ? measured.value("name", "") : key;
    const bool whole =
        std::all_of(values.begin(), values.end(), [](auto& v) { return v.is_number_integer(); });
    text += fmt::format(" {:>12}", whole ? head : head + " %");
  }
  const bool confusion = details.contains("confusion");
  text += confusion ? "  most often taken for\n" : "\n";
  for (size_t k = 0; k < labels.size(); ++k) {
    text += fmt::format("{:<28}", labels[k]);
    for (const std::string& key : columns) {
      const Json& value = details.at(key).at(k);
      text += fmt::format(" {:>12}", value.is_null() ? "-"
                                     : value.is_number_integer()
                                         ? std::to_string(value.get<int64_t>())
                                         : fmt::format("{:.1f}", 100 * value.get<double>()));
    }
    if (confusion) text += "  " + rival_text(details.at("confusion").at(k), k, labels);
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

Json evaluate_model(Workbench& bench, const Model& model, const std::string& list) {
  Session session(model.graph.to(bench.device()));
  const auto source = bench.evaluation_batches(list, model.preprocessing, bench.recipe().data.batch);
  const auto task = bench.task_of(model);
  return to_json(evaluate(session, *task, *source));
}

std::string metric_text(const std::string& metric, const Json& measured) {
  return fmt::format("{} {:.1f} % ({:.1f}-{:.1f}) on {} images", metric,
                     100 * measured.at("value").get<double>(), 100 * measured.at("low").get<double>(),
                     100 * measured.at("high").get<double>(), measured.at("samples").get<int64_t>());
}

void add_lineage(Model& model, const StageJob& job, const Json& extra) {
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
    model = open_model(job.model_in);
    job.bench.check_model(model, job.model_in.string());
  }
  save_model(job.model_out, model);
  return Json::object();
}

}  // namespace espalier
