#include "base/shipped.h"

#include <cstdlib>
#include <system_error>

namespace espalier {

namespace fs = std::filesystem;

fs::path shipped_recipes() {
  if (const char* folder = std::getenv("ESPALIER_RECIPES"); folder && *folder) return folder;
  std::error_code unknown;
  const fs::path program = fs::read_symlink("/proc/self/exe", unknown);
  const fs::path installed = program.parent_path().parent_path() / "share/espalier/recipes";
  return fs::is_directory(installed, unknown) ? installed : fs::path(ESPALIER_RECIPES);
}

}  // namespace espalier
