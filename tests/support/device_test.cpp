#include "support/device_test.h"

#include <cstdlib>
#include <string>

namespace espalier::test {

void need_device(Device device) {
  if (device == Device::kCpu || kernels::cuda_available()) return;
  const char* required = std::getenv("ESPALIER_REQUIRE_CUDA");
  if (required && std::string(required) == "1")
    FAIL() << "ESPALIER_REQUIRE_CUDA=1: " << kernels::cuda_obstacle();
  GTEST_SKIP() << kernels::cuda_obstacle();
}

}  // namespace espalier::test
