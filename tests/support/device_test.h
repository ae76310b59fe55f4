#pragma once
// Tests that run on every device: cases are named /cpu and /cuda. Without a GPU the second is skipped, and
// counted; ESPALIER_REQUIRE_CUDA=1 makes that a failure. Tests of what a GPU alone has are /cuda only.

#include <gtest/gtest.h>

#include "kernels/device.h"

namespace espalier::test {

/// Skips the test where the device is a GPU that is not there. For SetUp().
void need_device(Device device);

class DeviceTest : public ::testing::TestWithParam<Device> {
 protected:
  void SetUp() override { need_device(GetParam()); }
};

}  // namespace espalier::test

#define ESPALIER_TEST_ON_EVERY_DEVICE(Fixture)                                                     \
  INSTANTIATE_TEST_SUITE_P(On, Fixture,                                                            \
                           ::testing::Values(::espalier::Device::kCpu, ::espalier::Device::kCuda), \
                           [](const auto& info) { return std::string(::espalier::name(info.param)); })
#define ESPALIER_TEST_ON_A_GPU(Fixture)                                               \
  INSTANTIATE_TEST_SUITE_P(On, Fixture, ::testing::Values(::espalier::Device::kCuda), \
                           [](const auto& info) { return std::string(::espalier::name(info.param)); })
