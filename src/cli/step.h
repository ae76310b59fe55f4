#pragma once
// What the commands that do one step share: a recipe of their own, made from flags that the table of keys
// defines.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "cli/command.h"
#include "recipe/recipe.h"

namespace espalier {

/// --threads, --device and --precision; empty: what the recipe says.
struct MachineOptions {
  std::string threads, device, precision;

  /// Those that were given as --set would write them, then what --set gave.
  Overrides followed_by(const Overrides& set) const;
};

/// The options of one step. Every key of the stage is a flag: keep_macs is --keep-macs, optimizer.lr is
/// --optimizer.lr.
struct StepOptions : MachineOptions {
  std::string recipe, data;
  Overrides overrides;                       ///< --set
  std::map<std::string, std::string> flags;  ///< key of the stage -> its value as text; empty: not given
  std::string kind;                          ///< of the stage, may be empty
};

/// --recipe, --data, --set, --threads, --device, --precision.
void add_data_options(CLI::App* app, StepOptions& options);
/// --threads, --device and --precision alone.
void add_machine_options(CLI::App* app, MachineOptions& options);
/// A flag for every key of the stage but name, from and those in `without`.
void add_stage_flags(CLI::App* app, const std::string& kind, StepOptions& options,
                     const std::vector<std::string>& without = {});

/// A file that is read, and what it is to people.
struct InputFile {
  std::string path, what;  ///< "the model that is read"
};

/// Throws Error where the file `out`, named by `flag`, is one of those that are read.
void check_output(const std::string& flag, const std::filesystem::path& out,
                  const std::vector<InputFile>& inputs);

/// A recipe with this one stage, which reads `from` (a model file or "scratch"). Without data (`needs_data`
/// false) its data section is empty and must not be used.
Recipe step_recipe(const StepOptions& options, const std::string& from, bool needs_data = true);

}  // namespace espalier
