// What the emulated card reports (tests/emulated_cuda); in a build with it only.

#ifdef ESPALIER_EMULATED_CUDA

#include <gtest/gtest.h>

#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <vector>

#include "kernels/activation.h"
#include "kernels/device.h"

namespace espalier {
namespace {

constexpr int64_t kCount = 1000;

float* on_the_card() { return static_cast<float*>(kernels::allocate(Device::kCuda, kCount * sizeof(float))); }

/// Each in a process of its own: a fault, and which GPU is taken, last as long as the process.
struct EmulatedGpuDeathTest : ::testing::Test {
  EmulatedGpuDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(EmulatedGpuDeathTest, HostCodeMayNotTouchItsMemory) {
  EXPECT_DEATH(*on_the_card() = 1,
               "the host's code accesses the card's memory at .*, of a block of 4000 bytes");
}

TEST_F(EmulatedGpuDeathTest, AKernelMayNotLeaveABlock) {
  EXPECT_DEATH(
      {
        float* x = on_the_card();
        kernels::sigmoid_forward(Device::kCuda, kCount + 1, x, x);
        kernels::synchronize(Device::kCuda);
      },
      "Sigmoid.* accesses .*, which is beyond every block");
}

TEST_F(EmulatedGpuDeathTest, AKernelMayNotUseWhatWasGivenBack) {
  EXPECT_DEATH(
      {
        float* x = on_the_card();
        kernels::release(Device::kCuda, x, kCount * sizeof(float));
        kernels::sigmoid_forward(Device::kCuda, kCount, x, x);
        kernels::synchronize(Device::kCuda);
      },
      "or of one that was given back");
}

#ifndef __SANITIZE_ADDRESS__  // beside which accesses are not watched
/// Ends the process with kFault where that is what came of y = sigmoid(x).
constexpr int kFault = 3;
void run_and_leave(int64_t count, const float* x, float* y) {
  try {
    kernels::sigmoid_forward(Device::kCuda, count, x, y);
    kernels::synchronize(Device::kCuda);
  } catch (const std::runtime_error&) {
    std::exit(kFault);
  }
  std::exit(0);
}

TEST_F(EmulatedGpuDeathTest, AKernelMayNotReadTheHostsMemory) {
  const std::vector<float> host(kCount, 1.0f);
  EXPECT_EXIT(run_and_leave(kCount, host.data(), on_the_card()), ::testing::ExitedWithCode(kFault),
              "is no memory of the card");
}

TEST_F(EmulatedGpuDeathTest, ItemsMayNotTouchEachOthersResults) {
  EXPECT_EXIT(
      {
        float* x = on_the_card();
        run_and_leave(kCount - 1, x, x + 1);
      },
      ::testing::ExitedWithCode(kFault), "with no barrier between");
}
#endif

TEST_F(EmulatedGpuDeathTest, TheSecondIsThatOfEveryThread) {
  EXPECT_EXIT(
      {
        kernels::use_cuda(1);
        std::thread([] {
          float* x = on_the_card();
          kernels::sigmoid_forward(Device::kCuda, kCount, x, x);
          kernels::release(Device::kCuda, x, kCount * sizeof(float));
          kernels::synchronize(Device::kCuda);
        }).join();
        std::exit(0);
      },
      ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace espalier

#endif
