#include "recipe/report.h"
#include "cli/command.h"
#include "recipe/result.h"

namespace espalier {

void add_report_options(CLI::App* app, ReportOptions& options) {
  app->add_option("--pictures", options.pictures,
                  "evaluation pictures that every variant looks at for the example predictions; 0: none")
      ->capture_default_str()
      ->check(CLI::Range(0, 100000));
  app->add_option("--seconds", options.seconds,
                  "of timing for each network along the trade-off curve; 0: no latency there")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 600.0));
}

Command add_report(CLI::App& program) {
  struct Options {
    std::string run, out;
    bool markdown = false;
    ReportOptions report;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app =
      program.add_subcommand("report", "the result table of a run, and its page: RUN/report.html");
  app->add_option("RUN", options->run, "the run's folder")->required();
  app->add_option("--out", options->out, "the page's file; RUN/report.html by default");
  app->add_flag("--markdown", options->markdown, "print the table as Markdown, and write no page");
  add_report_options(app, options->report);
  return {app, [options](const Output& output) -> int {
            const Json result = read_result(options->run);
            output.text(result_table(result, options->markdown));
            if (!options->markdown) {
              const std::filesystem::path page = options->out.empty()
                                                     ? std::filesystem::path(options->run) / "report.html"
                                                     : std::filesystem::path(options->out);
              write_report({options->run}, page, options->report);
              output.text("report: " + page.string());
            }
            output.object(result);
            return kOk;
          }};
}

}  // namespace espalier
