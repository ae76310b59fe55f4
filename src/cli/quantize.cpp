#include "base/error.h"
#include "cli/command.h"
#include "cli/step.h"
#include "recipe/stages.h"

namespace espalier {

Command add_quantize(CLI::App& program) {
  struct Options {
    StepOptions step;
    std::string model, out, work;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app =
      program.add_subcommand("quantize", "convert a model from FP32 to INT8, calibrated on pictures");
  app->add_option("MODEL", options->model, "a model file")->required();
  add_data_options(app, options->step);
  app->add_option("--out", options->out, "the INT8 model's file")->required();
  app->add_option(
      "--work", options->work,
      "a folder for layer_errors.json and for what is measured: with it an interrupted search goes on");
  add_stage_flags(app, "int8", options->step);
  return {app, [options](const Output& output) -> int {
            check_output("--out", options->out,
                         {{options->model, "the model that is read"}, {options->step.recipe, "the recipe"}});
            const Recipe recipe = step_recipe(options->step, options->model);
            Workbench bench(recipe);
            check_plan(bench);
            if (!options->work.empty()) {
              std::error_code code;
              std::filesystem::create_directories(options->work, code);
              ESPALIER_CHECK(!code, options->work, ": the folder cannot be made (", code.message(),
                             "); check the path and its permissions");
            }
            const StageJob job = {.bench = bench,
                                  .stage = recipe.stages.at(0),
                                  .folder = options->work,
                                  .model_in = options->model,
                                  .model_out = options->out};
            Json metrics = int8_stage(job);
            metrics["model"] = options->out;
            output.text(options->out + ": " + metrics.at("summary").get<std::string>());
            output.object(metrics);
            return kOk;
          }};
}

}  // namespace espalier
