// What the library has to say in a program that never set a log up.

#include "base/log.h"

#include <gtest/gtest.h>

#include <iostream>

namespace espalier {
namespace {

TEST(Log, WarningsOfTheLibraryGoToStandardError) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  warn("slow here");
  std::cout << std::flush;
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "warning: slow here\n");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  set_log_level("error");
  testing::internal::CaptureStderr();
  warn("slow here");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  set_log_level("info");
}

}  // namespace
}  // namespace espalier
