#include <spdlog/fmt/fmt.h>

#include "cli/command.h"
#include "cli/step.h"
#include "recipe/report.h"
#include "recipe/result.h"
#include "recipe/run.h"

namespace espalier {

namespace {

/// "ok      baseline.top1 is 0.91, expected at least 0.8"
std::string bounds_text(const Json& expect) {
  std::string text;
  for (const Json& bound : expect) {
    const bool holds = bound.at("holds");
    text += fmt::format("{:<8}{} is {:.4g}, expected {}", holds ? "ok" : "FAILED",
                        bound.at("bound").get<std::string>(), bound.at("value").get<double>(),
                        bound.at("expected").get<std::string>());
    text += (holds ? "" : " (" + bound.at("place").get<std::string>() + ")") + "\n";
  }
  return text;
}

}  // namespace

Command add_run(CLI::App& program) {
  struct Options {
    std::string recipe, out;
    Overrides overrides;
    MachineOptions machine;
    bool dry_run = false;
    ReportOptions report;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app =
      program.add_subcommand("run", "run a recipe: every stage that is not done, then the result table");
  app->add_option("RECIPE", options->recipe,
                  "a YAML file, or the name of a shipped one; `espalier recipe --schema` documents every key")
      ->required();
  app->add_option("--set", options->overrides,
                  "KEY=VALUE instead of the recipe's, for example data.root=DIR or control.epochs=2")
      ->take_all()
      ->allow_extra_args(false);
  app->add_option("--out", options->out, "folder of the run; runs/NAME by default");
  add_machine_options(app, options->machine);
  app->add_flag("--dry-run", options->dry_run, "print the plan and stop");
  add_report_options(app, options->report);
  return {
      app, [options](const Output& output) -> int {
        const Recipe recipe = load_recipe(options->recipe, options->machine.followed_by(options->overrides));
        const std::filesystem::path out = options->out.empty() ? std::filesystem::path("runs") / recipe.name
                                                               : std::filesystem::path(options->out);
        if (options->dry_run) {
          const std::string plan = plan_text(recipe, out);
          output.text(plan);
          output.object({{"plan", plan}});
          return kOk;
        }
        const Json result = run_recipe(recipe, out);
        output.text("\n" + result_table(result, false));
        output.text(bounds_text(result.at("expect")));
        output.text("result: " + (out / "result.json").string());
        write_report({out}, out / "report.html", options->report);
        output.text("report: " + (out / "report.html").string());
        output.object(result);
        for (const Json& bound : result.at("expect"))
          if (!bound.at("holds").get<bool>()) return kCheckFailed;
        return kOk;
      }};
}

}  // namespace espalier
