#include <spdlog/fmt/fmt.h>

#include "cli/command.h"
#include "cli/step.h"
#include "recipe/run.h"
#include "recipe/stages.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

/// A stage that runs again moves the one folder and removes the other.
void check_folders(const fs::path& out, const std::string& model) {
  if (!fs::exists(model)) return;
  const std::string parent = fs::absolute(model).parent_path().string();
  for (const char* folder : {"train", "train.old"})
    check_output("--out", out / folder, {{parent, "the folder of " + model + ", which is read"}});
}

}  // namespace

Command add_train(CLI::App& program) {
  struct Options {
    StepOptions step;
    std::string from = "scratch", out;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app =
      program.add_subcommand("train", "train a network, new or read; the same command again continues");
  add_data_options(app, options->step);
  app->add_option(
      "--from", options->from,
      "a model file to go on from (retraining); without a recipe it also says size and preprocessing; a new "
      "network by default");
  app->add_option("--out", options->out, "folder; the model becomes OUT/train/model.safetensors")->required();
  add_stage_flags(app, "train", options->step);
  return {app, [options](const Output& output) -> int {
            check_folders(options->out, options->from);
            check_folders(options->out, options->step.flags["distill.from"]);
            const Recipe recipe = step_recipe(options->step, options->from);
            const Json metrics = run_stages(recipe, options->out).at("train");
            const std::string model = (fs::path(options->out) / "train" / "model.safetensors").string();
            output.text(
                fmt::format("{}: {}", model, metric_text(metrics.at("val").at("name"), metrics.at("val"))));
            Json object = metrics;
            object["model"] = model;
            output.object(object);
            return kOk;
          }};
}

}  // namespace espalier
