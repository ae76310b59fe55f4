#include "support/shared.h"

#include <cstdlib>

namespace espalier::test {

std::string source_path(const std::string& relative) {
  const char* root = std::getenv("ESPALIER_SOURCE");
  return std::string(root ? root : ESPALIER_SOURCE_DIR) + "/" + relative;
}

std::string shared_path(const std::string& relative) {
  const char* root = std::getenv("ESPALIER_SHARED");
  return (root ? std::string(root) : source_path("../shared")) + "/" + relative;
}

}  // namespace espalier::test
