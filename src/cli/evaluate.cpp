#include <spdlog/fmt/fmt.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/step.h"
#include "io/file.h"
#include "recipe/open_model.h"
#include "recipe/stages.h"
#include "report/csv.h"

namespace espalier {

namespace {

/// Precision and recall of every class as CSV, from the surest detection on.
std::string curves_csv(const Json& measured, const std::vector<std::string>& labels) {
  std::string text = "class,recall,precision,score\n";
  const Json& curves = measured.at("details").at("curves");
  for (size_t k = 0; k < curves.size(); ++k)
    for (size_t i = 0; i < curves[k].at("recall").size(); ++i)
      text += fmt::format("{},{:.6f},{:.6f},{:.6f}\n", csv_cell(labels.at(k)),
                          curves[k].at("recall")[i].get<double>(), curves[k].at("precision")[i].get<double>(),
                          curves[k].at("score")[i].get<double>());
  return text;
}

}  // namespace

Command add_evaluate(CLI::App& program) {
  struct Options {
    StepOptions step;
    std::string model, list = "val", curves;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("evaluate", "measure a model, FP32 or INT8, as it will run");
  app->add_option("MODEL", options->model, "a model file")->required();
  add_data_options(app, options->step);
  app->add_option("--list", options->list, "train, val or test")
      ->check(CLI::IsMember({"train", "val", "test"}));
  app->add_option("--curves", options->curves,
                  "detection: CSV file to write, precision and recall of every class at IoU 0.5");
  return {app, [options](const Output& output) -> int {
            options->step.kind = "evaluate";
            check_output("--curves", options->curves,
                         {{options->model, "the model that is read"}, {options->step.recipe, "the recipe"}});
            const Recipe recipe = step_recipe(options->step, options->model);
            Workbench bench(recipe);
            const Model model = open_model(options->model);
            bench.check_model(model, options->model);
            ESPALIER_CHECK(options->curves.empty() || model.task == "detection",
                           "--curves are of detectors, and ", options->model, " is a model for ", model.task,
                           "; leave it out");
            Json measured = evaluate_model(bench, model, options->list);
            measured["model"] = options->model;
            measured["list"] = options->list;
            output.text(fmt::format("{} on {}: {}", options->model, options->list,
                                    metric_text(measured.at("name"), measured)));
            output.text(details_text(measured, model.labels));
            if (!options->curves.empty())
              write_atomically(options->curves, curves_csv(measured, model.labels));
            output.object(measured);
            return kOk;
          }};
}

}  // namespace espalier
