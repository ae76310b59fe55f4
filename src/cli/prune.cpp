#include "base/error.h"
#include "cli/command.h"
#include "cli/step.h"
#include "compress/sensitivity.h"
#include "recipe/run_folder.h"
#include "recipe/stages.h"

namespace espalier {

Command add_prune(CLI::App& program) {
  struct Options {
    StepOptions step;
    std::string model, out;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand(
      "prune", "remove channels by their sensitivities; retrain with train --from afterwards");
  app->add_option("MODEL", options->model, "a model file")->required();
  app->add_option("--out", options->out, "the pruned model's file")->required();
  add_data_options(app, options->step);
  add_stage_flags(app, "prune", options->step, {"sensitivity", "rounds", "round_epochs"});
  auto sensitivity = std::make_shared<std::string>();
  app->add_option("--sensitivity", *sensitivity, "the JSON file of `espalier sensitivity`, or DEFAULT")
      ->required();
  return {app, [options, sensitivity](const Output& output) -> int {
            options->step.flags["sensitivity"] = *sensitivity;
            // Data are only needed for measuring the norms anew.
            const bool data = !options->step.recipe.empty() || !options->step.data.empty();
            std::string& recalibrate = options->step.flags["recalibrate"];
            if (!data && recalibrate.empty()) recalibrate = "0";
            const Recipe recipe = step_recipe(options->step, options->model, recalibrate != "0");
            ESPALIER_CHECK(recipe.stages.size() == 1, "prune: makes one model, and a list of ",
                           recipe.stages.size(), " budgets is given; give one, or write a recipe");
            Workbench bench(recipe);
            const Model model = load_model(options->model);
            const auto selection = std::filesystem::path(options->out).replace_extension(kSelectionFile);
            const StageJob job = {
                .bench = bench,
                .stage = recipe.stages.at(0),
                .model_in = options->model,
                .sensitivity = *sensitivity == "DEFAULT"
                                   ? default_sensitivities(model.architecture.at("name"))
                                   : std::filesystem::path(*sensitivity),
                .whole = options->step.flags["share_of"],
                .model_out = options->out,
                .selection = selection,
                .latencies = std::filesystem::path(selection).replace_filename(kLatencyFile)};
            Json metrics = prune_stage(job);
            metrics["model"] = options->out;
            metrics["selection"] = selection.string();
            output.text(options->out + ": " + metrics.at("summary").get<std::string>());
            output.text("what each group keeps: " + selection.string());
            output.object(metrics);
            return kOk;
          }};
}

}  // namespace espalier
