#include <filesystem>

#include "base/error.h"
#include "cli/command.h"
#include "cli/step.h"
#include "datasets/transforms.h"
#include "io/onnx.h"

namespace espalier {

namespace {

constexpr const char* kPixels = "pixels";

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

Command add_export(CLI::App& program) {
  struct Options {
    std::string model, out, input = kPixels;
    int batch = 0;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("export", "write a model, FP32 or INT8, as ONNX for other runtimes");
  app->add_option("MODEL", options->model, "a model file")->required();
  app->add_option("--out", options->out, "the ONNX file")->required();
  app->add_option(
         "--input", options->input,
         "pixels: bytes [N,H,W,3], RGB at the network's size, which the file normalises; normalized: "
         "float32 [N,3,H,W], normalised by whoever runs it")
      ->capture_default_str()
      ->check(CLI::IsMember({kPixels, "normalized"}));
  app->add_option("--batch", options->batch, "pictures of a run; 0: any number")
      ->capture_default_str()
      ->check(CLI::Range(0, 65536));
  return {app, [options](const Output& output) -> int {
            check_output("--out", options->out, {{options->model, "the model that is read"}});
            const Model model = load_model(options->model);
            OnnxOptions onnx{.batch = options->batch};
            if (options->input == kPixels)
              onnx.pixels = Pipeline(model.preprocessing, options->model + ": preprocessing").pixel_scale();
            const OnnxSummary summary = save_onnx(options->out, model, onnx);
            std::string text = options->out + ": takes " + text_of(summary.input) + ", gives ";
            Json outputs = Json::array();
            for (const OnnxPort& port : summary.outputs) {
              text += (outputs.empty() ? "" : ", ") + text_of(port);
              outputs.push_back(json_of(port));
            }
            const auto bytes = std::filesystem::file_size(options->out);
            output.text(str(text, "; ", summary.nodes, " nodes, ", bytes, " bytes"));
            output.object({{"file", options->out},
                           {"bytes", bytes},
                           {"nodes", summary.nodes},
                           {"input", json_of(summary.input)},
                           {"outputs", outputs}});
            return kOk;
          }};
}

}  // namespace espalier
