#pragma once
// What a command is made of.

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "cli/cli.h"

namespace espalier {

/// Where a command's results go: either its text or its JSON; what went wrong goes to the other stream.
class Output {
 public:
  Output(std::ostream& out, std::ostream& err, const bool& json) : out_(out), err_(err), json_(json) {}
  bool json() const { return json_; }
  /// A line, or several, for people; nothing with --json.
  void text(const std::string& text) const {
    if (!json_ && !text.empty()) out_ << text << (text.ends_with('\n') ? "" : "\n") << std::flush;
  }
  /// The command's one JSON object; nothing without --json. Of paths that are not UTF-8 it shows what can be.
  void object(const Json& json) const {
    if (json_) out_ << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n" << std::flush;
  }
  void error(const std::string& message) const { err_ << "espalier: " << message << std::endl; }

 private:
  std::ostream &out_, &err_;
  const bool& json_;
};

/// Adds one command to the program. The returned function runs it and returns the exit code; its options live
/// in it.
using CommandBody = std::function<int(const Output&)>;
struct Command {
  CLI::App* app;
  CommandBody body;
};

Command add_run(CLI::App& program);
Command add_train(CLI::App& program);
Command add_evaluate(CLI::App& program);
Command add_predict(CLI::App& program);
Command add_sensitivity(CLI::App& program);
Command add_prune(CLI::App& program);
Command add_quantize(CLI::App& program);
Command add_export(CLI::App& program);
Command add_bench(CLI::App& program);
Command add_info(CLI::App& program);
Command add_data(CLI::App& program);
Command add_recipe(CLI::App& program);
Command add_report(CLI::App& program);
Command add_compare(CLI::App& program);

/// --pictures and --seconds of the commands that write a page.
struct ReportOptions;
void add_report_options(CLI::App* app, ReportOptions& options);

}  // namespace espalier
