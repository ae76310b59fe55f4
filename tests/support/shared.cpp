#include "support/shared.h"

#include <cstdlib>

namespace espalier::test {

std::string shared_path(const std::string& relative) {
  const char* root = std::getenv("ESPALIER_SHARED");
  return std::string(root ? root : ESPALIER_SOURCE_DIR "/../shared") + "/" + relative;
}

}  // namespace espalier::test
