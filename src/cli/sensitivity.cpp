#include "cli/command.h"
#include "cli/step.h"
#include "recipe/stages.h"

namespace espalier {

Command add_sensitivity(CLI::App& program) {
  struct Options {
    StepOptions step;
    std::string model, out;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand(
      "sensitivity", "measure how much each group of channels matters; the same command again continues");
  app->add_option("MODEL", options->model, "a model file")->required();
  add_data_options(app, options->step);
  app->add_option("--out", options->out, "the JSON file, written after every point")->required();
  add_stage_flags(app, "sensitivity", options->step);
  return {app, [options](const Output& output) -> int {
            check_output("--out", options->out,
                         {{options->model, "the model that is read"}, {options->step.recipe, "the recipe"}});
            const Recipe recipe = step_recipe(options->step, options->model);
            Workbench bench(recipe);
            check_plan(bench);
            const StageJob job = {.bench = bench,
                                  .stage = recipe.stages.at(0),
                                  .model_in = options->model,
                                  .sensitivity = options->out};
            Json metrics = sensitivity_stage(job);
            metrics["file"] = options->out;
            output.text(options->out + ": " + metrics.at("summary").get<std::string>());
            output.object(metrics);
            return kOk;
          }};
}

}  // namespace espalier
