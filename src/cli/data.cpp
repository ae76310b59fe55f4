#include <spdlog/fmt/fmt.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/step.h"
#include "datasets/check.h"
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

}  // namespace

Command add_data(CLI::App& program) {
  struct Options {
    StepOptions step;
    std::string folder;
    SyntheticOptions make;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app =
      program.add_subcommand("data", "make: draw a data set; check: find its faults; transforms: list them");
  app->require_subcommand(1);

  CLI::App* make = app->add_subcommand("make", "draw pictures of vegetables in an ordinary layout");
  make->add_option("DIR", options->folder, "the folder to draw into; new or empty")->required();
  make->add_option("--classes", options->make.classes, "2 to 15")->capture_default_str();
  make->add_option("--train", options->make.train, "pictures a class")->capture_default_str();
  make->add_option("--val", options->make.val, "pictures a class")->capture_default_str();
  make->add_option("--test", options->make.test, "pictures a class")->capture_default_str();
  make->add_option("--size", options->make.size, "pixels a side")->capture_default_str();
  make->add_option("--seed", options->make.seed, "of the drawings")->capture_default_str();
  make->add_option("--format", options->make.layout, "image_list or image_folder")->capture_default_str();

  CLI::App* check = app->add_subcommand("check", "say what is wrong with a data set before training does");
  add_data_options(check, options->step);

  CLI::App* transforms =
      app->add_subcommand("transforms", "what a recipe may do to a picture, with every argument");

  return {app, [options, make, check, transforms](const Output& output) -> int {
            if (make->parsed()) {
              make_vegetables(options->folder, options->make);
              const SyntheticOptions& o = options->make;
              output.text(fmt::format("{}: {} classes with {} + {} + {} pictures each (train, val, test)",
                                      options->folder, o.classes, o.train, o.val, o.test));
              output.object({{"folder", options->folder},
                             {"classes", o.classes},
                             {"train", o.train},
                             {"val", o.val},
                             {"test", o.test}});
              return kOk;
            }
            if (transforms->parsed()) {
              const Json all = describe_transforms();
              output.text(transforms_text(all));
              output.object(all);
              return kOk;
            }
            options->step.kind = "train";
            const Recipe recipe = step_recipe(options->step, "scratch");
            const Json report = check_dataset(recipe.data.spec);
            output.text(describe(report));
            output.object(report);
            return report.at("problems").get<int>() ? kCheckFailed : kOk;
          }};
}

}  // namespace espalier
