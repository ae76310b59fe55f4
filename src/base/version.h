#pragma once

namespace espalier {
inline constexpr const char* kVersion =
    "0.1.0";  ///< as in CMakeLists.txt; written into every model file's lineage
}
