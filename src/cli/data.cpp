#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "base/error.h"
#include "cli/command.h"
#include "cli/step.h"
#include "datasets/anchors.h"
#include "datasets/check.h"
#include "datasets/dataset.h"
#include "datasets/synthetic.h"
#include "datasets/transforms.h"

namespace espalier {

namespace {

std::string transforms_text(const Json& transforms) {
  std::string text;
  for (const auto& [name, about] : transforms.items()) {
    text += fmt::format("{}: {}\n", name, about.at("help").get<std::string>());
    for (const auto& [argument, of] : about.at("arguments").items()) {
      text += fmt::format("    {}: {}", argument, of.at("help").get<std::string>());
      for (const char* key : {"default", "range", "choices"})
        if (of.contains(key)) text += fmt::format("; {} {}", key, of.at(key).dump());
      text += "\n";
    }
  }
  return text;
}

/// Without a recipe the data set's own files say what it is.
void guess_format(StepOptions& step) {
  const auto names_format = [](const std::string& override) { return override.starts_with("data.format="); };
  if (!step.recipe.empty() || step.data.empty() ||
      std::any_of(step.overrides.begin(), step.overrides.end(), names_format))
    return;
  step.overrides.insert(step.overrides.begin(), "data.format=" + likely_format(step.data));
}

}  // namespace

Command add_data(CLI::App& program) {
  struct Options {
    StepOptions step;
    std::string folder;
    SyntheticOptions make;
    int anchors = 9;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand(
      "data", "make: draw a data set; check: find its faults; anchors: fit them; transforms: list them");
  app->require_subcommand(1);

  CLI::App* make =
      app->add_subcommand("make", "draw vegetables, insects or fundus pictures in an ordinary layout");
  make->add_option("DIR", options->folder, "the folder to draw into; new or empty")->required();
  make->add_option("--format", options->make.layout,
                   "image_list or image_folder: vegetables; voc: insects; segmentation_list: fundus")
      ->capture_default_str();
  make->add_option("--classes", options->make.classes,
                   "up to 15 vegetables or 6 insects; default 6; a fundus has 2");
  make->add_option("--train", options->make.train, "pictures; of vegetables: a class")->capture_default_str();
  make->add_option("--val", options->make.val, "pictures; of vegetables: a class")->capture_default_str();
  make->add_option("--test", options->make.test, "pictures; of vegetables: a class")->capture_default_str();
  make->add_option("--size", options->make.size, "pixels of the longer side")->capture_default_str();
  make->add_option("--seed", options->make.seed, "of the drawings")->capture_default_str();

  CLI::App* check = app->add_subcommand("check", "say what is wrong with a data set before training does");
  add_data_options(check, options->step);

  CLI::App* anchors =
      app->add_subcommand("anchors", "fit a detector's anchors to the training boxes, as lines for a recipe");
  add_data_options(anchors, options->step);
  anchors->add_option("--count", options->anchors, "how many anchors")->capture_default_str();

  CLI::App* transforms =
      app->add_subcommand("transforms", "what a recipe may do to a picture, with every argument");

  return {app, [options, make, anchors, transforms](const Output& output) -> int {
            if (make->parsed()) {
              make_pictures(options->folder, options->make);
              const SyntheticOptions& o = options->make;
              const int64_t pictures = picture_count(o);
              output.text(fmt::format("{}: {} pictures ({})", options->folder, pictures, o.layout));
              output.object({{"folder", options->folder}, {"format", o.layout}, {"pictures", pictures}});
              return kOk;
            }
            if (transforms->parsed()) {
              const Json all = describe_transforms();
              output.text(transforms_text(all));
              output.object(all);
              return kOk;
            }
            options->step.kind = "train";
            guess_format(options->step);
            const Recipe recipe = step_recipe(options->step, "scratch");
            if (anchors->parsed()) {
              DataSpec spec = recipe.data.spec;
              spec.check_images = false;
              const Pipeline evaluation(recipe.data.eval_transforms);
              const AnchorSet set = fit_anchors(box_sizes(open_dataset(spec, Split::kTrain), evaluation),
                                                options->anchors, recipe.seed);
              output.text(anchors_yaml(set, evaluation.output_size()));
              output.object(to_json(set));
              return kOk;
            }
            const Json report = check_dataset(recipe.data.spec);
            output.text(describe(report));
            output.object(report);
            return report.at("problems").get<int>() ? kCheckFailed : kOk;
          }};
}

}  // namespace espalier
