#include <spdlog/fmt/fmt.h>

#include "cli/command.h"
#include "cli/step.h"
#include "recipe/stages.h"

namespace espalier {

Command add_evaluate(CLI::App& program) {
  struct Options {
    StepOptions step;
    std::string model, list = "val";
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("evaluate", "measure a model, FP32 or INT8, as it will run");
  app->add_option("MODEL", options->model, "a model file")->required();
  add_data_options(app, options->step);
  app->add_option("--list", options->list, "train, val or test")
      ->check(CLI::IsMember({"train", "val", "test"}));
  return {app, [options](const Output& output) -> int {
            options->step.kind = "evaluate";
            const Recipe recipe = step_recipe(options->step, options->model);
            Workbench bench(recipe);
            const Model model = load_model(options->model);
            bench.check_model(model, options->model);
            Json measured = evaluate_model(bench, model, options->list);
            measured["model"] = options->model;
            measured["list"] = options->list;
            output.text(fmt::format("{} on {}: {}", options->model, options->list,
                                    metric_text(measured.at("name"), measured)));
            output.text(details_text(measured, model.labels));
            output.object(measured);
            return kOk;
          }};
}

}  // namespace espalier
