#include "cli/command.h"
#include "recipe/result.h"

namespace espalier {

Command add_report(CLI::App& program) {
  struct Options {
    std::string run;
    bool markdown = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("report", "print the result table of a run");
  app->add_option("RUN", options->run, "the run's folder")->required();
  app->add_flag("--markdown", options->markdown, "as a Markdown table");
  return {app, [options](const Output& output) -> int {
            const Json result = read_result(options->run);
            output.text(result_table(result, options->markdown));
            output.object(result);
            return kOk;
          }};
}

}  // namespace espalier
