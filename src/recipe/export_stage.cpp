// A model for other runtimes.

#include "base/error.h"
#include "datasets/transforms.h"
#include "io/onnx.h"
#include "recipe/open_model.h"
#include "recipe/run_folder.h"
#include "recipe/stages.h"

namespace espalier {

namespace {

/// "pixels uint8 [N,224,224,3]".
std::string text_of(const OnnxPort& port) {
  std::string text = port.name + " " + port.type + " [";
  for (size_t i = 0; i < port.shape.size(); ++i) text += (i ? "," : "") + port.shape[i];
  return text + "]";
}

Json json_of(const OnnxPort& port) {
  return {{"name", port.name}, {"type", port.type}, {"shape", port.shape}};
}

}  // namespace

Json export_model(const std::filesystem::path& file, const std::filesystem::path& out, const Json& options) {
  const Model model = open_model(file);
  const auto task = make_task(model.task, static_cast<int>(model.labels.size()), model.task_options);
  OnnxOptions onnx{.batch = options.at("batch"), .decoding = task->decoding()};
  if (options.at("input") == "pixels")
    onnx.pixels = Pipeline(model.preprocessing, file.string() + ": preprocessing").pixel_scale();
  const OnnxSummary summary = save_onnx(out, model, onnx);
  std::string text = "takes " + text_of(summary.input) + ", gives ";
  Json outputs = Json::array();
  for (const OnnxPort& port : summary.outputs) {
    text += (outputs.empty() ? "" : ", ") + text_of(port);
    outputs.push_back(json_of(port));
  }
  const auto bytes = std::filesystem::file_size(out);
  return {{"bytes", bytes},
          {"nodes", summary.nodes},
          {"input", json_of(summary.input)},
          {"outputs", outputs},
          {"summary", str(text, "; ", summary.nodes, " nodes, ", bytes, " bytes")}};
}

Json export_stage(const StageJob& job) {
  Json metrics = export_model(job.model_in, job.folder / kOnnxFile, job.stage.options);
  metrics["from"] = job.stage.from;
  return metrics;
}

}  // namespace espalier
