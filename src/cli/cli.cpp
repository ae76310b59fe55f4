#include "cli/cli.h"

#include <algorithm>
#include <filesystem>
#include <new>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/version.h"
#include "cli/command.h"

namespace espalier {

namespace {

constexpr const char* kFooter =
    "Exit codes: 0 done; 1 a bound of the recipe does not hold, or data check found something; 2 bad input "
    "or usage;\n"
    "3 a defect of this program; 130 interrupted (what was done is saved, the same command continues).";

std::vector<const CLI::App*> subcommands(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

/// nullptr if there is none.
const CLI::App* find_subcommand(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : subcommands(app))
    if (command->get_name() == name) return command;
  return nullptr;
}

/// "unknown argument 'x'; did you mean '--y'?" for what CLI11 did not expect.
std::string unknown_argument(const CLI::App& program, const std::vector<std::string>& arguments) {
  if (arguments.empty()) return "";
  const CLI::App* command = find_subcommand(program, arguments[0]);
  if (!command) {
    if (arguments[0].starts_with("-")) return "";
    std::vector<std::string> names;
    for (const CLI::App* known : subcommands(program)) names.push_back(known->get_name());
    return "unknown command '" + arguments[0] + "'" + did_you_mean(arguments[0], names);
  }
  if (arguments.size() > 1)  // "data check"
    if (const CLI::App* leaf = find_subcommand(*command, arguments[1])) command = leaf;
  std::vector<std::string> known;
  for (const CLI::Option* option : command->get_options())
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  for (const std::string& argument : arguments) {
    const std::string name = argument.substr(0, argument.find('='));
    if (name.starts_with("--") && name.size() > 2 &&
        std::find(known.begin(), known.end(), name) == known.end())
      return "unknown option '" + name + "'" + did_you_mean(name, known);
  }
  return "";
}

/// The program with all its commands; its options write into `commands` and `json`.
struct Program {
  CLI::App app{"espalier trains small vision networks, prunes them and converts them to INT8", "espalier"};
  std::vector<Command> commands;
  bool json = false;

  Program() {
    app.require_subcommand(1);
    app.footer(kFooter);
    app.set_version_flag("--version", std::string(kVersion));
    for (const auto add :
         {add_run, add_train, add_evaluate, add_predict, add_sensitivity, add_prune, add_quantize, add_export,
          add_bench, add_info, add_data, add_recipe, add_report, add_compare})
      commands.push_back(add(app));
    for (const Command& command : commands) {
      const auto leaves = subcommands(*command.app);
      for (const CLI::App* leaf : leaves) add_json(command.app->get_subcommand(leaf->get_name()));
      if (leaves.empty()) add_json(command.app);
    }
  }
  Program(const Program&) = delete;

  void add_json(CLI::App* command) {
    command->add_flag("--json", json, "one JSON object on standard output instead of text");
  }

  /// The message of a usage error, empty if there is none. Throws CLI::ParseError for --help and --version.
  std::string parse(const std::vector<std::string>& arguments) {
    try {
      std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
      app.parse(reversed);
      return "";
    } catch (const CLI::ParseError& e) {
      if (e.get_exit_code() == 0) throw;
      json = std::find(arguments.begin(), arguments.end(), "--json") != arguments.end();
      std::string message = unknown_argument(app, arguments);
      if (message.empty()) message = e.what();
      return message + " (espalier --help lists the commands, espalier COMMAND --help their options)";
    }
  }
};

}  // namespace

std::string usage_error(const std::vector<std::string>& arguments) {
  try {
    return Program().parse(arguments);
  } catch (const CLI::ParseError&) {
    return "";  // help
  }
}

namespace {

int run_command(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err) {
  Program program;
  const Output output(out, err, program.json);
  const auto failed = [&](int code, const std::string& message) {
    output.error(message);
    output.object({{"error", message}, {"exit_code", code}});
    return code;
  };
  try {
    if (const std::string message = program.parse(arguments); !message.empty())
      return failed(kBadInput, message);
  } catch (const CLI::ParseError& e) {
    return program.app.exit(e, out, err);
  }
  try {
    init_logging();
    watch_for_interrupts();
    for (const Command& command : program.commands)
      if (command.app->parsed()) return command.body(output);
    return failed(kInternalError, "no command ran");
  } catch (const Interrupted& e) {
    return failed(kInterrupted, e.what());
  } catch (const Error& e) {
    return failed(kBadInput, e.what());
  } catch (const std::filesystem::filesystem_error& e) {
    return failed(kBadInput, str(e.path1().string(), ": cannot be used (", e.code().message(), ")"));
  } catch (const std::bad_alloc&) {
    return failed(kBadInput, "out of memory; use a smaller data.batch, data.cache or data.size");
  } catch (const std::exception& e) {
    return failed(kInternalError, std::string("defect: ") + e.what() + "; please report it with the command");
  }
}

}  // namespace

int run_command_line(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err) {
  const int code = run_command(arguments, out, err);
  if (out.flush()) return code;
  err << "espalier: standard output cannot be written to (a full disk, or it is closed); what was to be "
         "printed is lost, files are as they should be"
      << std::endl;
  return code == kOk || code == kCheckFailed ? kBadInput : code;
}

}  // namespace espalier
