// From FP32 to INT8.

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include "compress/calibrate.h"
#include "recipe/stages.h"

namespace espalier {

Json int8_stage(const StageJob& job) {
  Model model = load_float_model(job);
  job.bench.check_model(model, job.model_in.string());
  const Json& options = job.stage.options;
  const int64_t batches = options.at("calibration_batches");
  const auto source =
      job.bench.evaluation_batches(options.at("list"), model.preprocessing, job.bench.recipe().data.batch,
                                   batches * job.bench.recipe().data.batch);
  QuantizeReport report;
  const bool compat = options.at("paddlex_compat");
  model.graph = quantize_model(model.graph, *source,
                               {.calibrator = options.at("calibrator"),
                                .percentile = options.at("percentile"),
                                .batches = batches,
                                .bias_correction = options.at("bias_correction").get<bool>() && !compat,
                                .paddlex_compat = compat},
                               {.per_channel = options.at("weights") == "per_channel",
                                .paddlex_compat = compat,
                                .keep_fp32 = patterns_of(options, "keep_fp32")},
                               &report);
  std::string summary =
      fmt::format("{} items in INT8, calibrated on {} images", report.quantized, report.images);
  for (const std::string& item : report.fp32)
    summary += (item == report.fp32[0] ? "; in FP32: " : ", ") + item;
  spdlog::info("{}: {}", job.stage.name, summary);
  add_lineage(model, job, {{"calibration", to_json(report)}, {"options", options}});
  model.metrics = Json::object();  // those of the FP32 network
  save_model(job.model_out, model);
  return {{"quantized", report.quantized},
          {"fp32", report.fp32},
          {"images", report.images},
          {"summary", summary}};
}

}  // namespace espalier
