#pragma once

#include <filesystem>

#include "io/model_file.h"

namespace espalier {

/// load_model(), and a look at what only tasks and transforms understand: its task, the options of that and
/// its preprocessing. Throws Error that names the file.
Model open_model(const std::filesystem::path& path);

}  // namespace espalier
