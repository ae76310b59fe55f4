#pragma once

#include <filesystem>

#include "tasks/annotation.h"

namespace espalier {

/// Reads a mask PNG (io/index_png.h). Throws Error "PATH: what is; what to do" as read_index_png() does, and
/// for a value that is neither below `classes` nor Mask::kIgnored.
Mask read_mask(const std::filesystem::path& path, int classes);

}  // namespace espalier
