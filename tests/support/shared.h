#pragma once

#include <string>

namespace espalier::test {

/// A path under the sources that the tests were built from: $ESPALIER_SOURCE where they lie elsewhere now.
std::string source_path(const std::string& relative);

/// A path under the shared data, weights and golden numbers: $ESPALIER_SHARED, by default ../shared beside
/// the sources. Tests skip where it does not exist.
std::string shared_path(const std::string& relative);

}  // namespace espalier::test
