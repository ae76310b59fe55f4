#include "cli/command.h"
#include "cli/step.h"
#include "recipe/stages.h"

namespace espalier {

Command add_export(CLI::App& program) {
  struct Options {
    StepOptions step;
    std::string model, out;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app =
      program.add_subcommand("export", "write a model, FP32 or INT8, as ONNX, for other runtimes");
  app->add_option("MODEL", options->model, "a model file")->required();
  app->add_option("--out", options->out, "the ONNX file")->required();
  add_stage_flags(app, "export", options->step);
  return {app, [options](const Output& output) -> int {
            check_output("--out", options->out, {{options->model, "the model that is read"}});
            const Recipe recipe = step_recipe(options->step, options->model, false);
            Json metrics = export_model(options->model, options->out, recipe.stages.at(0).options);
            metrics["file"] = options->out;
            output.text(options->out + ": " + metrics.at("summary").get<std::string>());
            output.object(metrics);
            return kOk;
          }};
}

}  // namespace espalier
