#include <filesystem>

#include "base/error.h"
#include "cli/command.h"
#include "recipe/report.h"
#include "recipe/result.h"

namespace espalier {

Command add_compare(CLI::App& program) {
  struct Options {
    std::vector<std::string> runs;
    std::string out = "compare.html";
    ReportOptions report;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = program.add_subcommand("compare", "several runs in one page, and their tables");
  app->add_option("RUN", options->runs, "the runs' folders, two or more")->required();
  app->add_option("--out", options->out, "the page's file")->capture_default_str();
  add_report_options(app, options->report);
  return {app, [options](const Output& output) -> int {
            ESPALIER_CHECK(options->runs.size() > 1,
                           "compare: one run is named; name two or more, or use `espalier report ",
                           options->runs[0], "`");
            for (size_t i = 0; i < options->runs.size(); ++i)
              for (size_t j = 0; j < i; ++j) {
                std::error_code unknown;  // a run that is not there is reported below
                ESPALIER_CHECK(!std::filesystem::equivalent(options->runs[i], options->runs[j], unknown),
                               "compare: ", options->runs[i], " is named twice; name each run once");
              }
            Json results = Json::object();
            for (const std::string& run : options->runs) {
              results[run] = read_result(run);
              output.text(run + "\n" + result_table(results[run], false));
            }
            write_report({options->runs.begin(), options->runs.end()}, options->out, options->report);
            output.text("report: " + options->out);
            output.object({{"report", options->out}, {"runs", results}});
            return kOk;
          }};
}

}  // namespace espalier
