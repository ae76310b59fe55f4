#include "base/error.h"
#include "cli/command.h"
#include "cli/step.h"
#include "compress/sensitivity.h"
#include "recipe/open_model.h"
#include "recipe/run_folder.h"
#include "recipe/stages.h"

namespace espalier {

namespace {

namespace fs = std::filesystem;

/// A list of budgets makes "small_75.safetensors" and "small_50.safetensors".
fs::path file_of(const StageSpec& stage, fs::path out) {
  const std::string name = out.stem().string() + stage.name.substr(stage.kind.size());
  return out.replace_filename(name + out.extension().string());
}

fs::path selection_of(fs::path out) { return out.replace_extension(kSelectionFile); }
fs::path latencies_of(fs::path out) { return out.replace_filename(kLatencyFile); }

/// Of the shipped ones, by the model's name.
fs::path default_of(const fs::path& model) {
  const Json name = open_model(model).architecture.value("name", Json());
  ESPALIER_CHECK(
      name.is_string(), model.string(),
      ": does not say which network it is, so there are no DEFAULT sensitivities; measure its own");
  return default_sensitivities(name);
}

/// One model; what it decided goes beside it.
Json cut(Workbench& bench, const StageSpec& stage, const fs::path& model, const std::string& sensitivity,
         const fs::path& whole, const fs::path& out) {
  const fs::path selection = selection_of(out);
  const StageJob job = {.bench = bench,
                        .stage = stage,
                        .model_in = model,
                        .sensitivity = sensitivity == "DEFAULT" ? default_of(model) : fs::path(sensitivity),
                        .whole = whole,
                        .model_out = out,
                        .selection = selection,
                        .latencies = latencies_of(out)};
  Json metrics = prune_stage(job);
  metrics["model"] = out.string();
  metrics["selection"] = selection.string();
  return metrics;
}

}  // namespace

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
            const std::string whole = options->step.flags["share_of"];
            for (const StageSpec& stage : recipe.stages) {
              const fs::path out = file_of(stage, options->out);
              for (const fs::path& file : {out, selection_of(out), latencies_of(out)})
                check_output("--out", file,
                             {{options->model, "the model that is read"},
                              {*sensitivity, "the file of sensitivities that is read"},
                              {whole, "the model of --share-of"},
                              {options->step.recipe, "the recipe"}});
            }
            Workbench bench(recipe);
            check_plan(bench);
            Json all = Json::array();
            for (const StageSpec& stage : recipe.stages) {
              const fs::path out = file_of(stage, options->out);
              all.push_back(cut(bench, stage, options->model, *sensitivity, whole, out));
              output.text(out.string() + ": " + all.back().at("summary").get<std::string>());
              output.text("what each group keeps: " + all.back().at("selection").get<std::string>());
            }
            output.object(all.size() == 1 ? all.at(0) : Json{{"models", all}});
            return kOk;
          }};
}

}  // namespace espalier
