#pragma once
// Runs a command line in this process and keeps what it printed.

#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "cli/cli.h"
#include "support/temporary_directory.h"

namespace espalier::test {

struct Ran {
  int code;
  std::string out, err;
  Json json() const { return Json::parse(out); }
};

inline Ran run(const std::vector<std::string>& arguments) {
  std::ostringstream out, err;
  const int code = run_command_line(arguments, out, err);
  return {code, out.str(), err.str()};
}

/// A fresh folder that goes with the test; folder / "name" is a path in it.
struct Folder : TemporaryDirectory {
  std::string operator/(const std::string& name) const { return (path() / name).string(); }
};

}  // namespace espalier::test
