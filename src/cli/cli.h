#pragma once
// The command line. One file per command; `espalier COMMAND --help` documents each.

#include <iosfwd>
#include <string>
#include <vector>

namespace espalier {

/// What the program's exit status says.
enum ExitCode {
  kOk = 0,
  kCheckFailed = 1,    ///< a bound of `expect:` does not hold, or `data check` found something
  kBadInput = 2,       ///< a usage error, or what espalier::Error reports: the message says what to do
  kInternalError = 3,  ///< a defect of this program
  kInterrupted = 130,  ///< Ctrl-C; what was done so far is saved, the same command continues
};

/// Runs one command line (without the program's name). Results go to `out` (one JSON object with --json),
/// messages and logs to `err`. Never throws.
int run_command_line(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err);

/// What is wrong with a command line, without running it; empty when nothing is.
std::string usage_error(const std::vector<std::string>& arguments);

}  // namespace espalier
